"""Bit errors in weight memories: quantised weights, cells that fail, and networks whose weights have failed.

No capability: what the capabilities of this domain build on. NumPy alone; networks in ONNX are in `weight_memory`.
"""
