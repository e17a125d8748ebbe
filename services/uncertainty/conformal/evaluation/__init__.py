"""Measurements on data sets and simulations, and comparisons with other libraries; may import torch."""
