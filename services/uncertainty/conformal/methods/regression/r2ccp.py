"""R2CCP: regression by a density on bins (Guha et al., "Conformal prediction via regression-as-classification", 2024).

A classifier gives each bin a probability; between the midpoints of bins the density is interpolated linearly, and the
score of y is minus the density at y. A set is where the density reaches a bound, a union of intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite

Pieces = list[tuple[float, float]]

SUM_TOLERANCE = 1e-3
"""Largest accepted |sum - 1| of a row of probabilities."""


@dataclass(frozen=True)
class BinnedDensity:
    """Densities of m points.

    Attributes:
        midpoints: (K,), of the bins, ascending, K >= 2, in the unit of y.
        probabilities: (m, K), of the bins, each row adding up to 1. Outside of the midpoints the density is 0.
    """

    midpoints: FloatArray
    probabilities: FloatArray

    def scores(self, values: object) -> FloatArray:
        """Minus the interpolated density at each value, (m,); 0 outside of the midpoints.

        Raises:
            ValueError: not m finite values.
        """
        y = require_finite(values, "values", shape=(len(self.probabilities),))
        last = self.midpoints.size - 2
        left = np.clip(np.searchsorted(self.midpoints, y, side="right") - 1, 0, last)
        rows = np.arange(y.size)
        share = (y - self.midpoints[left]) / np.diff(self.midpoints)[left]
        low, high = self.probabilities[rows, left], self.probabilities[rows, left + 1]
        inside = (self.midpoints[0] <= y) & (y <= self.midpoints[-1])
        return np.where(inside, -(low + share * (high - low)), 0.0)

    def sets(self, bounds: FloatArray) -> list[Pieces]:
        """{y : score <= bound} for each point, as intervals in ascending order that do not touch.

        Args:
            bounds: (m,), from calibration. A bound of 0 or more lets everything in.

        Returns:
            For each point at most K - 1 pieces; none for the empty set, (-inf, inf) for everything.
        """
        return [self._pieces(row, -float(bound)) for row, bound in zip(self.probabilities, bounds, strict=True)]

    def _pieces(self, heights: FloatArray, level: float) -> Pieces:
        """The intervals on which the line through the heights at the bins is at least the level."""
        if level <= 0:
            return [(-np.inf, np.inf)]
        pieces: Pieces = []
        for index in np.flatnonzero(np.maximum(heights[:-1], heights[1:]) >= level):
            start, end = self._crossing(heights, int(index), level)
            if pieces and pieces[-1][1] == start:
                start = pieces.pop()[0]
            pieces.append((start, end))
        return pieces

    def _crossing(self, heights: FloatArray, index: int, level: float) -> tuple[float, float]:
        """The part of a segment that reaches the level, of which at least one end does."""
        left, right = float(self.midpoints[index]), float(self.midpoints[index + 1])
        low, high = float(heights[index]), float(heights[index + 1])
        if min(low, high) >= level:
            return left, right
        between = left + (right - left) * (level - low) / (high - low)
        return (left, between) if low > high else (between, right)


def binned_density(midpoints: object, probabilities: object) -> BinnedDensity:
    """Densities, checked.

    Args:
        midpoints: (K,), ascending.
        probabilities: (m, K), not negative, each row adding up to 1 within 1e-3.

    Raises:
        ValueError: an argument is not as said above.
    """
    middles = require_finite(midpoints, "midpoints")
    rows = require_finite(probabilities, "probabilities", shape=(None, middles.size))
    if middles.size < 2 or (np.diff(middles) <= 0).any():
        raise ValueError("midpoints must be at least two, in ascending order")
    if (rows < 0).any() or (np.abs(rows.sum(axis=1) - 1) > SUM_TOLERANCE).any():
        raise ValueError("probabilities must not be negative and each row must add up to 1")
    return BinnedDensity(middles, rows)


def total_lengths(sets: list[Pieces]) -> FloatArray:
    """Length of each set, (m,)."""
    return np.array([sum(end - start for start, end in pieces) for pieces in sets], dtype=np.float64)


def contain(sets: list[Pieces], values: FloatArray) -> list[bool]:
    """Which sets hold their value, (m,)."""
    return [any(start <= y <= end for start, end in pieces) for pieces, y in zip(sets, values.tolist(), strict=True)]
