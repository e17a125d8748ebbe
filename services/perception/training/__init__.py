"""What the training of several capabilities of this domain needs: ONNX graphs written by hand, packages of npm."""
