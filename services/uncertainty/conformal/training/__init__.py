"""Losses that train a model for conformal prediction; serving does not import them. May import torch."""
