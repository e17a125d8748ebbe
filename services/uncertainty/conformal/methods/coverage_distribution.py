"""The distribution of coverage: Beta over calibrations, Beta-Binomial for the hits among m test items.

They hold for continuous scores, or randomised ones; with ties coverage is higher (Vovk 2012; Angelopoulos and Bates
2023, section 3.2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.levels import Level, check_weights, conformal_rank

Interval = tuple[float, float]


def expected_coverage(count: int, alpha: Level) -> float:
    """Mean coverage k / (n + 1) over draws of all items: 1 - alpha or more, by less than 1/(n + 1)."""
    return conformal_rank(count, alpha) / (count + 1)


def coverage_band(count: int, alpha: Level, *, confidence: float = 0.95, tied: bool = False) -> Interval:
    """The central interval of the true coverage of one calibration set of n items: Beta(k, n + 1 - k).

    (1, 1) where n is too small for a finite threshold: then every label is in every set. With ties the law is a lower
    limit only, and the interval reaches from its lower quantile to 1.
    """
    rank = conformal_rank(count, alpha)
    if rank > count:
        return 1.0, 1.0
    law = scipy.stats.beta(rank, count + 1 - rank)
    if tied:
        return float(law.ppf(1 - confidence)), 1.0
    low, high = law.interval(confidence)
    return float(low), float(high)


def hits_law(count: int, alpha: Level, tests: int) -> Any:
    """The law of how many of m test items are covered: Beta-Binomial(m, k, n + 1 - k), a frozen SciPy distribution.

    Raises:
        ValueError: n is too small for a finite threshold; all m are covered then.
    """
    rank = conformal_rank(count, alpha)
    if rank > count:
        raise ValueError(f"{count} calibration items cover everything at alpha {alpha}")
    return scipy.stats.betabinom(tests, rank, count + 1 - rank)


def hits_interval(
    count: int, alpha: Level, tests: int, *, confidence: float = 0.95, tied: bool = False
) -> tuple[int, int]:
    """The central interval of the number of covered among m test items; with ties from a lower limit to m."""
    if conformal_rank(count, alpha) > count:
        return tests, tests
    if tied:
        return int(hits_law(count, alpha, tests).ppf(1 - confidence)), tests
    low, high = hits_law(count, alpha, tests).interval(confidence)
    return int(low), int(high)


def hits_p_value(hits: int, count: int, alpha: Level, tests: int, *, tied: bool = False) -> float:
    """Two-sided p-value of a number of covered items: twice the smaller tail of the Beta-Binomial law, at most 1.

    With ties more hits are no surprise: the p-value of so few hits, one-sided.
    """
    if conformal_rank(count, alpha) > count:
        return 1.0 if hits == tests else 0.0
    law = hits_law(count, alpha, tests)
    if tied:
        return float(law.cdf(hits))
    return float(min(1.0, 2 * min(law.cdf(hits), law.sf(hits - 1))))


def binomial_interval(hits: int, tests: int, *, confidence: float = 0.95) -> Interval:
    """The exact interval of a proportion (Clopper and Pearson 1934)."""
    interval = scipy.stats.binomtest(hits, tests).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def effective_sample_size(weights: NDArray[np.float64]) -> float:
    """(sum w)^2 / sum w^2: how many equal weights hold as much; 0 for none."""
    weights = check_weights(weights)
    largest = float(weights.max(initial=0.0))
    if largest == 0:
        return 0.0
    scaled = weights / largest
    return float(scaled.sum() ** 2 / (scaled**2).sum())
