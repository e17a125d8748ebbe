"""Control of risks other than missing the label: expected loss, or loss with high confidence.

- Conformal risk control (Angelopoulos et al., ICLR 2024): for losses that fall as lambda grows, E[loss] <= alpha.
- Learn-then-Test (Angelopoulos et al. 2021; Annals of Applied Statistics 2025): for any losses,
  P(risk <= alpha) >= 1 - delta for every lambda that is handed out.
- Risk-controlling prediction sets (Bates et al. 2021): the same for losses that fall, by an upper bound of the risk.

Losses come as a table, a row for each calibration item and a column for each lambda of the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import scipy
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite
from services.uncertainty.conformal.methods.levels import Level, to_fraction, to_level

COUNT_SLACK = 1e-9
"""Sums of losses within this of a whole number count as it; above it Bentkus's bound would jump."""
BISECTIONS = 60


class Correction(StrEnum):
    """Correction that keeps the joint error of several tests at delta."""

    FIXED_SEQUENCE = "fixed-sequence"
    BONFERRONI = "bonferroni"


@dataclass(frozen=True)
class ControlledRisk:
    """The result of conformal risk control.

    Attributes:
        index: column of the smallest lambda whose bound is at most alpha; None where none is.
        lambda_: that lambda.
        risks: (L,), mean losses.
        bounds: (L,), (n risk + B) / (n + 1).
        required: fewest items with which a loss of 0 could be accepted, ceil(B / alpha) - 1.
    """

    index: int | None
    lambda_: float | None
    risks: FloatArray
    bounds: FloatArray
    required: int


def control_expected_loss(losses: object, lambdas: object, alpha: Level, *, bound: float = 1.0) -> ControlledRisk:
    """Conformal risk control: inf{lambda : n / (n + 1) risk(lambda) + B / (n + 1) <= alpha}.

    Args:
        losses: (n, L), in [0, bound], in each row never rising from a lambda to the next.
        lambdas: (L,), ascending.
        alpha: risk that is accepted, in (0, bound).
        bound: largest possible loss B, positive.

    Raises:
        ValueError: an argument is not as said above.
    """
    table, grid = _table(losses, lambdas, bound)
    if table.shape[0] and (np.diff(table, axis=1) > 0).any():
        raise ValueError("losses must not rise with lambda; Learn-then-Test takes losses that do")
    level, largest = to_fraction(alpha), to_fraction(bound)
    if not 0 < level < largest:
        raise ValueError(f"alpha must lie in (0, {bound}), got {alpha!r}")
    sums = [math.fsum(column) for column in table.T]
    count = table.shape[0]
    # Both sides as rational numbers: a risk that lies on alpha is accepted whatever the rounding.
    accepted = [to_fraction(total) + largest <= level * (count + 1) for total in sums]
    index = accepted.index(True) if any(accepted) else None
    totals = np.array(sums, dtype=np.float64)
    return ControlledRisk(
        index=index,
        lambda_=None if index is None else float(grid[index]),
        risks=totals / max(count, 1),
        bounds=(totals + bound) / (count + 1),
        required=math.ceil(largest / level) - 1,
    )


@dataclass(frozen=True)
class TestedRisk:
    """The result of Learn-then-Test.

    Attributes:
        valid: (L,), which lambdas have a risk of at most alpha, all of them at once with probability 1 - delta.
        p_values: (L,), of the hypothesis that the risk exceeds alpha.
        risks: (L,), mean losses.
    """

    valid: NDArray[np.bool_]
    p_values: FloatArray
    risks: FloatArray

    __test__ = False  # pytest would take the name for a test


def learn_then_test(
    losses: object,
    lambdas: object,
    alpha: Level,
    *,
    delta: Level,
    correction: Correction = Correction.FIXED_SEQUENCE,
    order: NDArray[np.int64] | None = None,
    bound: float = 1.0,
) -> TestedRisk:
    """Which lambdas keep the risk at or below alpha, with Hoeffding-Bentkus p-values.

    Args:
        losses: (n, L), in [0, bound], n >= 1; they may rise and fall.
        lambdas: (L,), ascending.
        alpha: risk that is accepted, in (0, bound).
        delta: probability that a lambda that is called valid has a larger risk, in (0, 1).
        correction: fixed sequence tests one after the other up to the first failure; Bonferroni tests all at delta / L.
        order: (L,), columns in the order of the fixed sequence, chosen without these losses; the last lambda first
            where not given.
        bound: largest possible loss, positive.

    Raises:
        ValueError: an argument is not as said above.
    """
    table, grid = _table(losses, lambdas, bound)
    level = float(to_level(to_fraction(alpha) / to_fraction(bound)))
    limit = float(to_level(delta))
    if not table.shape[0]:
        raise ValueError("losses must hold items")
    risks = table.mean(axis=0)
    p_values = hoeffding_bentkus_p_values(risks / bound, level, count=table.shape[0])
    if correction is Correction.BONFERRONI:
        return TestedRisk(p_values <= limit / grid.size, p_values, risks)
    sequence = np.arange(grid.size)[::-1] if order is None else np.asarray(order)
    if sorted(sequence.tolist()) != list(range(grid.size)):
        raise ValueError("order must hold each column once")
    valid = np.zeros(grid.size, dtype=np.bool_)
    valid[sequence] = np.logical_and.accumulate(p_values[sequence] <= limit)
    return TestedRisk(valid, p_values, risks)


def hoeffding_bentkus_p_values(risks: FloatArray, alpha: float, *, count: int) -> FloatArray:
    """P-values of "the risk exceeds alpha" from mean losses (Bates et al. 2021, theorem 4; LTT, proposition 1).

    min(exp(-n h(min(risk, alpha), alpha)), e P(Bin(n, alpha) <= ceil(n risk))), with h the relative entropy of coins.

    Args:
        risks: any shape, mean losses in [0, 1].
        alpha: in (0, 1).
        count: number n of losses.

    Returns:
        As risks, in [0, 1].
    """
    low = np.minimum(risks, alpha)
    entropy = scipy.special.xlogy(low, low / alpha) + scipy.special.xlogy(1 - low, (1 - low) / (1 - alpha))
    bentkus = math.e * scipy.stats.binom.cdf(np.ceil(count * risks - COUNT_SLACK), count, alpha)
    return np.asarray(np.minimum(1.0, np.minimum(np.exp(-count * entropy), bentkus)), dtype=np.float64)


def upper_risk_bound(risk: float, *, count: int, delta: Level) -> float:
    """Upper confidence bound of a risk: sup{alpha : its p-value is above delta} (Bates et al. 2021, section 3.1.3).

    Args:
        risk: mean loss in [0, 1].
        count: number of losses, 1 or more.
        delta: probability that the bound is too low, in (0, 1).
    """
    limit, low, high = float(to_level(delta)), risk, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = 0 < middle < 1 and hoeffding_bentkus_p_values(np.array([risk]), middle, count=count)[0] <= limit
        low, high = (low, middle) if above else (middle, high)
    return high


def risk_controlling_set(losses: object, lambdas: object, alpha: Level, *, delta: Level) -> int | None:
    """Column of the smallest lambda from which on every upper bound of the risk is below alpha; None where none is.

    Args:
        losses: (n, L), in [0, 1], n >= 1, with a risk that does not rise with lambda.
        lambdas: (L,), ascending.
        alpha: risk that is accepted, in (0, 1).
        delta: probability of a larger risk, in (0, 1).
    """
    table, _ = _table(losses, lambdas, 1.0)
    # P-values fall as alpha grows, so that a bound is below alpha exactly where the p-value at alpha is at most delta.
    p_values = hoeffding_bentkus_p_values(table.mean(axis=0), float(to_level(alpha)), count=table.shape[0])
    below = p_values <= float(to_level(delta))
    missed = np.flatnonzero(~below)
    first = 0 if not len(missed) else int(missed[-1]) + 1
    return first if first < len(below) else None


def _table(losses: object, lambdas: object, bound: float) -> tuple[FloatArray, FloatArray]:
    if not (math.isfinite(bound) and bound > 0):
        raise ValueError(f"bound must be a positive finite number, got {bound!r}")
    grid = require_finite(lambdas, "lambdas")
    if grid.size == 0 or (np.diff(grid) <= 0).any():
        raise ValueError("lambdas must be at least one, in ascending order")
    table = require_finite(losses, "losses", shape=(None, grid.size))
    if ((table < 0) | (table > bound)).any():
        raise ValueError(f"losses must lie in [0, {bound}]")
    return table, grid
