"""Ranks and quantiles of conformal prediction, exact where binary floating point is not.

0.3 is no binary fraction: ceil((n + 1) (1 - 0.7)) in floats is off by one for a tenth of the sample sizes. Ranks are
computed from the decimal text of the level with rational numbers.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Level = float | str | Decimal | Fraction

WEIGHT_SLACK = 1e-12
"""Relative. Sums of weights are no more exact than that; without it equal weights would miss the unweighted rank."""


def exact(level: Level) -> Fraction:
    """A level as the rational number that its decimal text says.

    Raises:
        ValueError: the level is not a finite number.
    """
    if isinstance(level, Fraction):
        return level
    try:
        return Fraction(str(level))
    except ValueError:
        raise ValueError(f"a level must be a finite number, got {level!r}") from None


def exact_alpha(alpha: Level) -> Fraction:
    """A miscoverage level, checked.

    Raises:
        ValueError: alpha does not lie in (0, 1).
    """
    value = exact(alpha)
    if not 0 < value < 1:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha!r}")
    return value


def conformal_rank(count: int, alpha: Level) -> int:
    """Rank ceil((n + 1) (1 - alpha)) of the score that bounds a conformal set.

    Args:
        count: number n of calibration scores, 0 or more.
        alpha: miscoverage; any finite number, as adaptive levels leave [0, 1].

    Returns:
        The rank, counted from 1. Above n no score bounds the set; 0 or less means the empty set.
    """
    return math.ceil((count + 1) * (1 - exact(alpha)))


def required_count(alpha: Level) -> int:
    """Fewest calibration scores with a finite bound: the smallest n of at least (1 - alpha) / alpha."""
    value = exact_alpha(alpha)
    return math.ceil((1 - value) / value)


def smallest(ordered: FloatArray, rank: int) -> float:
    """The score of a rank among scores in ascending order.

    Returns:
        Plus infinity where the rank exceeds their number, minus infinity where it is 0 or less.
    """
    if rank > ordered.size:
        return math.inf
    return float(ordered[rank - 1]) if rank > 0 else -math.inf


def conformal_quantile(ordered: FloatArray, alpha: Level) -> float:
    """The bound q of a conformal set {y : S(y) <= q} from scores in ascending order; see `smallest` for the ends."""
    return smallest(ordered, conformal_rank(ordered.size, alpha))


def weighted_quantile(ordered: FloatArray, weights: FloatArray, test_weights: FloatArray, alpha: Level) -> FloatArray:
    """The bound under covariate shift (Tibshirani et al. 2019, lemma 3): the test point's own mass lies at infinity.

    Args:
        ordered: (n,), scores in ascending order.
        weights: (n,), each score's weight, in the order of the scores; not negative.
        test_weights: (m,), weight of each test point; not negative.
        alpha: miscoverage in (0, 1).

    Returns:
        (m,), for each test point the smallest score at which the mass reaches 1 - alpha of the whole, or infinity.
    """
    mass = np.cumsum(weights)
    total = (mass[-1] if mass.size else 0.0) + test_weights
    needed = float(1 - exact_alpha(alpha)) * total * (1 - WEIGHT_SLACK)
    bounded = np.append(ordered, np.inf)
    found: FloatArray = bounded[np.searchsorted(mass, needed, side="left")]
    return np.where(total > 0, found, np.inf)


def effective_count(weights: FloatArray) -> float:
    """How many equal weights carry as much information, (sum w)^2 / sum w^2 (Kish 1965); 0 for none.

    Args:
        weights: (n,), not negative.
    """
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def finite(values: object, name: str, *, shape: tuple[int | None, ...] = (None,)) -> FloatArray:
    """Values as a float64 array, checked.

    Args:
        values: anything array-like.
        name: what they are, for the message.
        shape: expected; None stands for any length.

    Raises:
        ValueError: not numeric, another shape, or not all finite.
    """
    array = np.asarray(values, dtype=np.float64)
    fits = array.ndim == len(shape) and all(want in {None, have} for want, have in zip(shape, array.shape, strict=True))
    if not fits:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must have the shape ({expected}), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    return array
