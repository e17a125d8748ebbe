"""The peers' side: each file serves one ONNX file with one product, run by that product's own environment.

They import nothing of Facet and of each other but `common`.
"""
