"""Scores that become calibrated probabilities."""
