"""Proper scores of quantiles and intervals: small only where they are both near and honest.

Shapes must agree exactly: a column against a row would be compared all with all, and what is perfect would look bad.
"""

from __future__ import annotations

import numpy as np

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite
from services.uncertainty.conformal.methods.levels import Level, to_level


def pinball_losses(quantiles: object, values: object, level: Level) -> FloatArray:
    """Pinball loss of each predicted quantile, (n,), in the unit of y (Koenker and Bassett 1978).

    Args:
        quantiles: (n,), predictions.
        values: (n,), what was observed.
        level: of the quantile, in (0, 1).

    Raises:
        ValueError: an argument is not as said above.
    """
    predicted = require_finite(quantiles, "quantiles")
    excess = require_finite(values, "values", shape=predicted.shape) - predicted
    share = float(to_level(level))
    return np.maximum(share * excess, (share - 1) * excess)


def winkler_scores(lower: object, upper: object, values: object, alpha: Level) -> FloatArray:
    """Length plus 2 / alpha times the distance of a label outside, (n,) (Gneiting and Raftery 2007, equation 43).

    Args:
        lower: (n,), ends; infinite ones give an infinite score.
        upper: (n,), ends, at least the lower ones.
        values: (n,), what was observed.
        alpha: miscoverage that the intervals were made for, in (0, 1).

    Raises:
        ValueError: an argument is not as said above.
    """
    y = require_finite(values, "values")
    low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    if low.shape != y.shape or high.shape != y.shape or not (low <= high).all():
        raise ValueError("lower and upper must have the shape of values, lower at most upper")
    outside = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    return np.asarray(high - low + 2 / float(to_level(alpha)) * outside, dtype=np.float64)
