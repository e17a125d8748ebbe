"""Classifiers out of ONNX files, as the rules see them."""
