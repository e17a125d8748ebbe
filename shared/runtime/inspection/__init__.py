"""What is found out of an ONNX file before anybody runs it: format, verification, hazards, and a try in a sandbox."""
