"""Venn-Abers predictors: scores become pairs of probabilities of which one is calibrated (Vovk and Petej 2014).

Inductive form (Vovk, Petej, Fedorova, NeurIPS 2015): isotonic regression is fitted on the calibration points and the
test point, labelled 0 for p0 and 1 for p1, and read at the test point. No refit is needed: with the test point between
two points of the cumulative sum diagram, its value is the slope of the lower hull across it, the common tangent of the
hull of what lies to the left and of the hull of what lies to the right. The tangent touches each hull a few vertices
away from the test point, no more than about (2 n)^(1/3) of them: a point counts for one, and the hulls are convex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.uncertainty.conformal.interruption import check_interruption
from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite

_CHECK_EVERY = 4096
"""Points between two looks whether anybody still waits for the answer."""


@dataclass(frozen=True)
class VennAbers:
    """Calibration points, put together where their scores are equal.

    Attributes:
        scores: (g,), different scores, ascending.
        counts: (g,), how many points have the score.
        positives: (g,), how many of them have the label 1.
    """

    scores: FloatArray
    counts: FloatArray
    positives: FloatArray

    def probabilities(self, scores: object) -> FloatArray:
        """Pairs (p0, p1) with p0 <= p1, (m, 2).

        Args:
            scores: (m,), of test points, finite; larger scores speak for the label 1.
        """
        asked, back = np.unique(require_finite(scores, "scores"), return_inverse=True)
        first = np.searchsorted(self.scores, asked, side="left").tolist()
        last = np.searchsorted(self.scores, asked, side="right").tolist()
        widths, heights = np.append(0.0, np.cumsum(self.counts)), np.append(0.0, np.cumsum(self.positives))
        # What lies to the right is the same in the mirror: read from the end, with widths that grow the other way.
        left, right = _Hulls(widths, heights), _Hulls(-widths[::-1], heights[::-1])
        pairs = np.empty((asked.size, 2))
        for row, (start, end) in enumerate(zip(first, last, strict=True)):
            if row % _CHECK_EVERY == 0:
                check_interruption()
            for label in (0, 1):
                pairs[row, label] = _slope_of_tangent(left, start, right, len(widths) - 1 - end, label)
        return pairs[back]

    def to_arrays(self) -> dict[str, FloatArray]:
        """Arrays to be kept as NPZ."""
        return {"scores": self.scores, "counts": self.counts, "positives": self.positives}


class _Hulls:
    """The lower convex hulls of the first 1, 2, ... points of a sequence that goes to the right.

    The vertices of the hull of points 0 to i are i, `below[i]`, `below[below[i]]` and so on, down to 0.

    Args:
        widths, heights: (n,), of the points; widths rise.
    """

    def __init__(self, widths: FloatArray, heights: FloatArray) -> None:
        # Memory views give plain numbers, faster than arrays do, and take no more room.
        self.widths, self.heights = np.ascontiguousarray(widths).data, np.ascontiguousarray(heights).data
        self.below = np.zeros(len(widths), np.int64).data
        for index in range(1, len(widths)):
            if index % _CHECK_EVERY == 0:
                check_interruption()
            self.below[index] = self._vertex_below(index)

    def _vertex_below(self, index: int) -> int:
        """The vertex before a point in the hull of all points up to it."""
        widths, heights, below = self.widths, self.heights, self.below
        last = index - 1
        while last:
            before = below[last]
            width, height = widths[last] - widths[before], heights[last] - heights[before]
            # The last vertex goes where it lies on or above the line from the one before it to the point.
            if width * (heights[index] - heights[before]) > height * (widths[index] - widths[before]):
                break
            last = before
        return last


def _slope_of_tangent(left: _Hulls, start: int, right: _Hulls, end: int, label: int) -> float:
    """Slope of the common tangent of two hulls with a test point between them.

    Args:
        left: to the left of the test point.
        start: its last point.
        right: to the right, in the mirror.
        end: its last point there, which is the first after the test point.
        label: of the test point, 0 or 1: how much higher everything to the right of it is.
    """
    one, other = start, end
    slope = _slope(left, one, right, other, label)
    moved = True
    while moved:
        moved = False
        # From one vertex to the next the slope rises to its largest on the left, falls to its smallest on the right.
        while one and (steeper := _slope(left, left.below[one], right, other, label)) >= slope:
            one, slope, moved = left.below[one], steeper, True
        while other and (flatter := _slope(left, one, right, right.below[other], label)) <= slope:
            other, slope, moved = right.below[other], flatter, True
    return slope


def _slope(left: _Hulls, one: int, right: _Hulls, other: int, label: int) -> float:
    run = 1.0 - right.widths[other] - left.widths[one]
    return float((right.heights[other] + label - left.heights[one]) / run)


def venn_abers(scores: object, labels: object) -> VennAbers:
    """Calibrate on n points that the model has not seen.

    Args:
        scores: (n,), finite; larger scores speak for the label 1. Probabilities need not be calibrated.
        labels: (n,), 0 or 1.

    Raises:
        ValueError: an argument is not as said above.
    """
    values = require_finite(scores, "scores")
    marks = require_finite(labels, "labels", shape=values.shape)
    if not np.isin(marks, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    different, group = np.unique(values, return_inverse=True)
    counts = np.bincount(group, minlength=different.size).astype(np.float64)
    positives = np.bincount(group, weights=marks, minlength=different.size).astype(np.float64)
    return VennAbers(different, counts, positives)


def single_probability(pairs: FloatArray) -> FloatArray:
    """One probability of the label 1 for each pair, p1 / (1 - p0 + p1): minimax for logarithmic loss (2015, section 4).

    Args:
        pairs: (..., 2), from `VennAbers.probabilities`.

    Returns:
        The shape without the last axis, in [0, 1].
    """
    return np.asarray(pairs[..., 1] / (1 - pairs[..., 0] + pairs[..., 1]), dtype=np.float64)


def isotonic_regression(values: object, weights: object) -> FloatArray:
    """Weighted least squares fit that never falls, by pooling adjacent violators, (n,).

    Args:
        values: (n,), finite.
        weights: (n,), positive.

    Raises:
        ValueError: an argument is not as said above.
    """
    heights = require_finite(values, "values")
    masses = require_finite(weights, "weights", shape=heights.shape)
    if (masses <= 0).any():
        raise ValueError("weights must be positive")
    blocks: list[tuple[float, float, int]] = []
    for height, mass in zip(heights.tolist(), masses.tolist(), strict=True):
        total, weight, size = height * mass, mass, 1
        while blocks and blocks[-1][0] * weight >= total * blocks[-1][1]:
            above = blocks.pop()
            total, weight, size = total + above[0], weight + above[1], size + above[2]
        blocks.append((total, weight, size))
    return np.repeat([total / weight for total, weight, _ in blocks], [size for *_, size in blocks])
