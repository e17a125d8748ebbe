"""Losses to train with, measurements, and other libraries beside them; the only place that may import torch."""
