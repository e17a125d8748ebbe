"""A classifier and its explanation as one ONNX graph: made, with limits where it was sent, and verified."""
