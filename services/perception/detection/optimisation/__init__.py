"""Detectors in torch and what they are made of, for training and for jobs that adapt them."""
