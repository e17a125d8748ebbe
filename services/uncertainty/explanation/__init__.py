"""Sharing Ratio Decomposition (Han, Kim, Kwak, ICLR 2024, arXiv:2402.03348) inside the ONNX graph."""
