"""Measurements of the conformal methods, and other libraries beside them; the only place that may import torch."""
