"""From an ONNX file to a `Network`: what each family of operators is to the decomposition, attributes and all."""
