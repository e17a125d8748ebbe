"""Calibrations of classifiers: plain, in cells, by rank, weighted."""
