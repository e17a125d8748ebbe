"""Data, augmentation, supervised training and evaluation of detectors."""
