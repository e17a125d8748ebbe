"""ONNX graphs as differentiable functions in torch: what is attacked is the very file that is served.

A graph's shapes are folded into constants for one size of picture; what is left is computed operator by operator.
"""
