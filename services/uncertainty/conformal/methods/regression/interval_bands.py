"""Bands that regression intervals extend: every interval score but one is a distance from a band in some unit.

With a band [lower, upper] and units below and above it, the score of y is max((lower - y) / below, (y - upper) / above)
and the interval of the bound q is [lower - q below, upper + q above]. Both sides come from the same numbers, so they
cannot disagree.

| score | band | units | source |
|---|---|---|---|
| absolute | point | 1 | Lei et al. 2018 |
| normalised | point | difficulty | Papadopoulos et al. 2002 |
| CQR | quantiles | 1 | Romano, Patterson, Candès 2019 |
| CQR-r | quantiles | upper - lower | Sesia and Candès 2020 |
| CQR-m | quantiles | distance of each from the median | Kivaranovic, Johnson, Leeb 2020 |
| CQR-fm | median | distance of each from the median | the same |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite

SMALLEST_UNIT = 1e-6
"""Units are at least this large, in the unit of y: where quantiles coincide a score still is a number."""


@dataclass(frozen=True)
class Band:
    """Bands of m points.

    Attributes:
        lower, upper: (m,), ends, lower at most upper.
        below, above: (m,), what a score of 1 is on either side, positive, in the unit of y.
        crossed: how many points came with quantiles out of order, which were sorted.
    """

    lower: FloatArray
    upper: FloatArray
    below: FloatArray
    above: FloatArray
    crossed: int = 0

    def scores(self, values: object) -> FloatArray:
        """Score of each value, (m,): at most 0 inside of the band."""
        return np.maximum(*self.sides(values))

    def sides(self, values: object) -> tuple[FloatArray, FloatArray]:
        """Compute the distance of each value below the lower end and above the upper end, in units; (m,) each.

        Raises:
            ValueError: not m finite values.
        """
        y = require_finite(values, "values", shape=(self.lower.size,))
        return (self.lower - y) / self.below, (y - self.upper) / self.above

    def expand(self, below: FloatArray | float, above: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Ends of {y : neither side's score exceeds its bound}, (m,) each; crossed ends mean the empty set."""
        return self.lower - below * self.below, self.upper + above * self.above


def around_points(points: object) -> Band:
    """Absolute residuals: no width, unit 1.

    Args:
        points: (m,), predictions.
    """
    middle = require_finite(points, "points")
    return Band(middle, middle, np.ones_like(middle), np.ones_like(middle))


def around_points_normalised(points: object, difficulty: object) -> Band:
    """Residuals in units of the difficulty.

    Args:
        points: (m,), predictions.
        difficulty: (m,), what size of error is expected, positive.

    Raises:
        ValueError: a difficulty is 0 or less.
    """
    middle = require_finite(points, "points")
    unit = require_finite(difficulty, "difficulty", shape=middle.shape)
    if (unit <= 0).any():
        raise ValueError("difficulty must be positive")
    return Band(middle, middle, unit, unit)


def around_quantiles(lower: object, upper: object) -> Band:
    """CQR: the two quantiles, unit 1.

    Args:
        lower: (m,), predicted lower quantiles.
        upper: (m,), predicted upper quantiles; the two are sorted where they cross.
    """
    low, high, crossed = _sorted_pair(lower, upper)
    return Band(low, high, np.ones_like(low), np.ones_like(low), crossed)


def around_quantiles_relative(lower: object, upper: object) -> Band:
    """CQR-r: the two quantiles, in units of their distance."""
    low, high, crossed = _sorted_pair(lower, upper)
    unit = np.maximum(high - low, SMALLEST_UNIT)
    return Band(low, high, unit, unit, crossed)


def around_quantiles_by_median(lower: object, median: object, upper: object) -> Band:
    """CQR-m: the two quantiles, each in units of its distance from the median; sorted where the three cross."""
    low, middle, high, crossed = _sorted_triple(lower, median, upper)
    return Band(low, high, np.maximum(middle - low, SMALLEST_UNIT), np.maximum(high - middle, SMALLEST_UNIT), crossed)


def around_median(lower: object, median: object, upper: object) -> Band:
    """CQR-fm: the median, in units of the quantiles' distances from it; sorted where the three cross."""
    low, middle, high, crossed = _sorted_triple(lower, median, upper)
    below, above = np.maximum(middle - low, SMALLEST_UNIT), np.maximum(high - middle, SMALLEST_UNIT)
    return Band(middle, middle, below, above, crossed)


def _sorted_pair(lower: object, upper: object) -> tuple[FloatArray, FloatArray, int]:
    low = require_finite(lower, "lower")
    high = require_finite(upper, "upper", shape=low.shape)
    return np.minimum(low, high), np.maximum(low, high), int((low > high).sum())


def _sorted_triple(lower: object, median: object, upper: object) -> tuple[FloatArray, FloatArray, FloatArray, int]:
    low = require_finite(lower, "lower")
    three = np.stack(
        [low, require_finite(median, "median", shape=low.shape), require_finite(upper, "upper", shape=low.shape)]
    )
    low, middle, high = np.sort(three, axis=0)
    return low, middle, high, int((np.diff(three, axis=0) < 0).any(axis=0).sum())
