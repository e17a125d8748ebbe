"""Venn-Abers predictors: scores become pairs of probabilities of which one is calibrated (Vovk and Petej 2014).

Inductive form (Vovk, Petej, Fedorova, NeurIPS 2015): isotonic regression is fitted on the calibration points and the
test point, labelled 0 for p0 and 1 for p1, and read at the test point. No refit is needed: with the test point between
two points of the cumulative sum diagram, its value is the slope of the lower hull across it, which is
max over vertices a to the left of min over vertices b to the right of the slope from a to b.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite

_MIRROR = np.array([-1.0, 1.0])


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
        first = np.searchsorted(self.scores, asked, side="left")
        last = np.searchsorted(self.scores, asked, side="right")
        corners = np.column_stack([np.append(0.0, np.cumsum(self.counts)), np.append(0.0, np.cumsum(self.positives))])
        # The hull of what lies to the right grows from the right: in the mirror, and for the last test point first.
        left, right = _Hull(corners), _Hull(corners[::-1] * _MIRROR)
        right_sides = [right.up_to(len(corners) - 1 - int(end)) * _MIRROR for end in last[::-1]][::-1]
        pairs = np.empty((asked.size, 2))
        for row, (start, side) in enumerate(zip(first, right_sides, strict=True)):
            before = left.up_to(int(start))
            for label in (0, 1):
                steps = side[None] + np.array([1.0, label]) - before[:, None]
                pairs[row, label] = (steps[..., 1] / steps[..., 0]).min(axis=1).max()
        return pairs[back]

    def to_arrays(self) -> dict[str, FloatArray]:
        """Arrays to be kept as NPZ."""
        return {"scores": self.scores, "counts": self.counts, "positives": self.positives}


class _Hull:
    """The lower convex hull of the first points of a sequence that goes to the right, for ever more of them."""

    def __init__(self, points: FloatArray) -> None:
        self._points = points
        self._known = 0
        self._vertices: list[int] = []

    def up_to(self, index: int) -> FloatArray:
        """Vertices of the hull of points 0 to index, (v, 2), which must not fall from call to call."""
        while self._known <= index:
            while len(self._vertices) > 1 and self._bends_down():
                self._vertices.pop()
            self._vertices.append(self._known)
            self._known += 1
        return self._points[self._vertices]

    def _bends_down(self) -> bool:
        """Whether the last vertex lies on or above the line from the one before it to the next point."""
        before, last = self._points[self._vertices[-2]], self._points[self._vertices[-1]]
        new = self._points[self._known]
        turn = (last[0] - before[0]) * (new[1] - before[1]) - (last[1] - before[1]) * (new[0] - before[0])
        return bool(turn <= 0)


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
