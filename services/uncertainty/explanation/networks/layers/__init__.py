"""What each family of ONNX operators is to the decomposition."""
