"""Intervals, densities and whole distributions for numbers."""
