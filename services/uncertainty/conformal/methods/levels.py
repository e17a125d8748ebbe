"""Levels, ranks and quantiles: where a finite calibration set is cut so that the guarantee of coverage holds.

A level is read from its decimal text and computed with as a rational: in floating point ceil((n + 1)(1 - 0.7)) is one
too large at 500 of the first 5,000 n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Level = float | str | Fraction
"""A miscoverage level alpha in (0, 1): a number that is read as its shortest decimal text, that text, or a rational."""

_SLACK = 1e-12
"""Relative slack of weighted sums against the level, so that equal weights give the very rank of no weights."""


def to_fraction(level: Level) -> Fraction:
    """Any finite number as the rational that its decimal text says: 0.1 is 1/10.

    Raises:
        ValueError: the level is no finite number.
    """
    if isinstance(level, Fraction):
        return level
    try:
        near = float(level)
    except ValueError as error:
        raise ValueError(f"alpha is no number: {level!r}") from error
    if not math.isfinite(near):
        raise ValueError(f"alpha must be a finite number, not {level!r}")
    # Checked before the text is read exactly: that of 1e-999999999 would take a long time.
    return Fraction(level if isinstance(level, str) else repr(near)) if near else Fraction(0)


def to_level(alpha: Level) -> Fraction:
    """The rational that the level's decimal text says, checked to be a miscoverage level.

    Raises:
        ValueError: no number, or not in (0, 1).
    """
    value = to_fraction(alpha)
    if not 0 < value < 1:
        raise ValueError(f"alpha must lie in (0, 1), not {alpha}")
    return value


def conformal_rank(count: int, alpha: Level) -> int:
    """The rank k = ceil((n + 1)(1 - alpha)) of the score that is the threshold, from 1; n + 1 stands for infinity."""
    return _rank(count, to_level(alpha))


def _rank(count: int, alpha: Fraction) -> int:
    return math.ceil((count + 1) * (1 - alpha))


def needed_count(alpha: Level) -> int:
    """The smallest n whose threshold is finite: n >= (1 - alpha) / alpha, so 9 at 0.1 and 99 at 0.01."""
    level = to_level(alpha)
    return math.ceil((1 - level) / level)


def take_smallest(ordered: NDArray[np.float64], rank: int) -> float:
    """The score of a rank among scores (n,) in ascending order.

    Returns:
        Plus infinity where the rank exceeds their number, minus infinity where it is 0 or less.
    """
    if rank > ordered.size:
        return math.inf
    return float(ordered[rank - 1]) if rank > 0 else -math.inf


def ordered_quantile(ordered: NDArray[np.float64], alpha: Level) -> float:
    """The bound q of a set {y : S(y) <= q} from scores (n,) in ascending order, for any finite alpha, as levels adapt.

    Plus infinity where alpha is 0 or less, minus infinity, the empty set, where it is 1 or more.
    """
    return take_smallest(ordered, _rank(ordered.size, to_fraction(alpha)))


@dataclass(frozen=True, slots=True)
class Threshold:
    """The threshold of a set: labels whose score is at most this are in it.

    Attributes:
        value: labels with a score of at most this are in the set; infinite where too few scores are at hand.
        count: calibration scores, n.
        rank: k of the k-th smallest score, from 1; n + 1 where the value is infinite.
        needed: the smallest n whose threshold would be finite at this level.
    """

    value: float
    count: int
    rank: int
    needed: int


def conformal_quantile(scores: NDArray[np.float64], alpha: Level, *, ascending: bool = False) -> Threshold:
    """The k-th smallest of the scores (n,), k = ceil((n + 1)(1 - alpha)), and infinity where k > n (n = 0 included).

    Args:
        scores: calibration scores, no NaN.
        alpha: miscoverage level.
        ascending: the scores are sorted already.

    Raises:
        ValueError: alpha is not in (0, 1), or a score is NaN.
    """
    count = len(scores)
    rank = conformal_rank(count, alpha)
    if np.isnan(scores).any():
        raise ValueError("calibration scores hold NaN")
    value = np.inf
    if rank <= count:
        value = float(scores[rank - 1] if ascending else np.partition(scores, rank - 1)[rank - 1])
    return Threshold(value=value, count=count, rank=rank, needed=needed_count(alpha))


@dataclass(frozen=True, slots=True, eq=False)
class WeightedScores:
    """Calibration scores with the weights of their own items, in ascending order of the scores.

    The order of the scores carries the weights along: sorting each by itself, as one implementation does, gives the
    large scores the large weights whatever their items were.

    Attributes:
        scores: float64 (n,), ascending.
        weights: float64 (n,), >= 0, weights[i] belongs to scores[i]; the scale does not matter.
    """

    scores: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, scores: NDArray[np.float64], weights: NDArray[np.float64]) -> WeightedScores:
        """Sort scores (n,) and take the weights (n,) along.

        Raises:
            ValueError: other shapes, NaN scores, or weights that are negative, infinite or NaN.
        """
        scores, weights = np.asarray(scores, np.float64), check_weights(weights)
        if scores.ndim != 1 or scores.shape != weights.shape:
            raise ValueError(f"scores {scores.shape} and weights {weights.shape} must be two rows of the same length")
        if np.isnan(scores).any():
            raise ValueError("calibration scores hold NaN")
        order = np.argsort(scores, kind="stable")
        return cls(scores[order], weights[order])

    def quantiles(self, test_weights: NDArray[np.float64], alpha: Level) -> NDArray[np.float64]:
        """The weighted quantile of each test item (m,), its own weight (m,) sitting at infinity.

        The smallest score s with sum of w_i over S_i <= s at least (1 - alpha)(sum of all w_i + w), infinity where
        there is none (Tibshirani et al. 2019, corollary 1).
        """
        mass = np.cumsum(self.weights)
        total = (mass[-1] if len(mass) else 0.0) + check_weights(test_weights)
        wanted = float(1 - to_level(alpha)) * total * (1 - _SLACK)
        place = np.searchsorted(mass, wanted, side="left")
        return np.where(total > 0, np.append(self.scores, np.inf)[place], np.inf)

    def p_values(self, scores: NDArray[np.float64], test_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the mass at or above each score (m, K), own weight (m,) counted; 1 where all mass is 0."""
        above = np.append(np.cumsum(self.weights[::-1])[::-1], 0.0)
        own = check_weights(test_weights)[:, None]
        total = above[0] + own
        mass = above[np.searchsorted(self.scores, scores, side="left")] + own
        shares: NDArray[np.float64] = np.divide(mass, total, out=np.ones_like(mass), where=total > 0)
        return shares


def check_weights(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights as float64.

    Raises:
        ValueError: a weight is negative, infinite or NaN.
    """
    weights = np.asarray(weights, np.float64)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("weights must be finite and not negative")
    return weights
