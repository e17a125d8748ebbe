"""Conformal prediction: scores, calibrations, sets and p-values, and what is measured of them. NumPy and SciPy only."""
