"""Comparisons behind the figures of detection: ways to adapt to blood cells of an origin without labels."""
