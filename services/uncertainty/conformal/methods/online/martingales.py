"""Watching a stream for the end of exchangeability: bets against conformal p-values (Vovk, Gammerman, Shafer 2005, 7).

Under exchangeability smoothed online p-values are independent and uniform, so a bet f(p) with mean 1 keeps a capital
that is a martingale: P(it ever reaches 1 / delta) <= delta (Ville). The bets:

- simple jumper (Vovk et al. 2021, "Retrain or not retrain", algorithm 1): slopes -1, 0, 1 with a little jumping;
- power mixture: the integral over e in [0, 1] of e p^(e - 1), in closed form;
- histogram plug-in (after Fedorova et al., ICML 2012): the density of earlier p-values, smoothed by one count a bin.

Besides the capital, which forgets nothing, the CUSUM and Shiryaev-Roberts forms of the same bets find late changes:
the mean time to a false alarm at a threshold c is at least c steps.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

import numpy as np
import scipy

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite
from services.uncertainty.conformal.methods.levels import Level, to_level
from services.uncertainty.conformal.methods.online.states import State

JUMP = 0.01
SLOPES = np.array([-1.0, 0.0, 1.0])
BINS = 10


class Bet(StrEnum):
    """Betting strategy of a martingale on p-values."""

    JUMPER = "simple-jumper"
    POWER = "power-mixture"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Monitor(State):
    """State of the martingales over a stream of p-values. Capitals are natural logarithms and begin at 0.

    Attributes:
        bet: a `Bet`.
        delta: probability of ever a false alarm of the capital, in (0, 1).
        threshold: of CUSUM and Shiryaev-Roberts, in steps between false alarms, above 1.
        steps: number of p-values.
        memory: what the bet needs: log capitals by slope; the sum of log p; or counts by bin.
        capital: logarithm of the martingale.
        highest: the largest that it has been.
        cusum: logarithm of the largest capital ratio over all starting points.
        restarts: logarithm of the sum of these ratios (Shiryaev-Roberts); before the first step, -1e300.
        alarm_step, cusum_alarm_step, restarts_alarm_step: the first step of each alarm; 0 for none.
    """

    KIND: ClassVar[str] = "exchangeability-monitor"
    bet: str
    delta: float
    threshold: float
    steps: int
    memory: tuple[float, ...]
    capital: float
    highest: float
    cusum: float
    restarts: float
    alarm_step: int
    cusum_alarm_step: int
    restarts_alarm_step: int

    @property
    def p_value(self) -> float:
        """Evidence against exchangeability, valid at any time: one over the largest capital."""
        return math.exp(-max(self.highest, 0.0))


def start_monitor(*, bet: Bet = Bet.JUMPER, delta: Level = 0.01, threshold: float = 1000.0) -> Monitor:
    """Begin to watch; see `Monitor` for the arguments.

    Raises:
        ValueError: delta or threshold is out of its range.
    """
    if not 1 < threshold < math.inf:
        raise ValueError(f"threshold must be finite and above 1, got {threshold!r}")
    memory = {
        Bet.JUMPER: (-math.log(SLOPES.size),) * SLOPES.size,
        Bet.POWER: (0.0,),
        Bet.HISTOGRAM: (0.0,) * BINS,
    }[bet]
    limit = float(to_level(delta))
    return Monitor(bet.value, limit, float(threshold), 0, memory, 0.0, 0.0, -1e300, -1e300, 0, 0, 0)


def watch(monitor: Monitor, p_value: float) -> Monitor:
    """Observe a p-value.

    Args:
        monitor: the state before.
        p_value: in (0, 1], smoothed, of the newest point among all up to it (`OnlinePValues`). P-values against one
            fixed calibration set depend on each other; with them no alarm rate is guaranteed.

    Raises:
        ValueError: the p-value does not lie in (0, 1].
    """
    if not 0 < p_value <= 1:
        raise ValueError(f"a p-value must lie in (0, 1], got {p_value!r}")
    memory, capital = _BETS[Bet(monitor.bet)](monitor, p_value)
    growth, step = capital - monitor.capital, monitor.steps + 1
    cusum = max(monitor.cusum, 0.0) + growth
    restarts = float(np.logaddexp(monitor.restarts, 0.0)) + growth
    limit = math.log(monitor.threshold)
    return replace(
        monitor,
        steps=step,
        memory=memory,
        capital=capital,
        highest=max(monitor.highest, capital),
        cusum=cusum,
        restarts=restarts,
        alarm_step=monitor.alarm_step or step * (capital >= -math.log(monitor.delta)),
        cusum_alarm_step=monitor.cusum_alarm_step or step * (cusum >= limit),
        restarts_alarm_step=monitor.restarts_alarm_step or step * (restarts >= limit),
    )


def _jump(monitor: Monitor, p_value: float) -> tuple[tuple[float, ...], float]:
    capitals = np.array(monitor.memory)
    mixed = np.logaddexp(math.log1p(-JUMP) + capitals, math.log(JUMP / SLOPES.size) + monitor.capital)
    after = mixed + np.log1p(SLOPES * (p_value - 0.5))
    return tuple(after.tolist()), float(np.logaddexp.reduce(after))


def _power(monitor: Monitor, p_value: float) -> tuple[tuple[float, ...], float]:
    total = monitor.memory[0] + math.log(p_value)
    return (total,), log_power_mixture(-total, monitor.steps + 1)


def _histogram(monitor: Monitor, p_value: float) -> tuple[tuple[float, ...], float]:
    place = min(int(p_value * BINS), BINS - 1)
    density = BINS * (monitor.memory[place] + 1) / (monitor.steps + BINS)
    counts = list(monitor.memory)
    counts[place] += 1
    return tuple(counts), monitor.capital + math.log(density)


_BETS = {Bet.JUMPER: _jump, Bet.POWER: _power, Bet.HISTOGRAM: _histogram}


def log_power_mixture(surprise: float, count: int) -> float:
    """Logarithm of the integral over e in [0, 1] of e^n exp((1 - e) x), with x = -sum of log p >= 0.

    Args:
        surprise: x.
        count: number n of p-values.
    """
    if surprise > count + 1:
        closed = surprise - (count + 1) * math.log(surprise) + scipy.special.gammaln(count + 1)
        return float(closed + math.log(scipy.special.gammainc(count + 1, surprise)))
    # Where the incomplete gamma function would underflow, its series: sum of x^k / ((n + 1) ... (n + 1 + k)).
    term = total = 1 / (count + 1)
    divisor = count + 2
    while term > total * 1e-17:
        term *= surprise / divisor
        total += term
        divisor += 1
    return math.log(total)


@dataclass(frozen=True)
class OnlinePValues(State):
    """Scores of a stream so far, for the p-values of the next ones.

    Attributes:
        scores: ascending.
        seed: of the draws that break ties.
    """

    KIND: ClassVar[str] = "online-p-values"
    scores: tuple[float, ...]
    seed: int


def next_p_values(state: OnlinePValues, scores: object) -> tuple[OnlinePValues, FloatArray]:
    """Smoothed p-value of each next score among those up to it, (#{greater} + tau #{equal, itself included}) / n.

    The draw tau in (0, 1] belongs to the seed and the position, so that a replay gives the same, in whatever parts a
    stream comes.

    Args:
        state: before the first of them.
        scores: (m,), in the order of the stream.

    Returns:
        The state after the last of them, and (m,).

    Raises:
        ValueError: a score is not finite.
    """
    values = require_finite(scores, "scores")
    ordered = list(state.scores)
    found = np.empty(values.size)
    for index, value in enumerate(values.tolist()):
        before = len(ordered)
        tau = 1 - np.random.default_rng([state.seed, before + 1]).random()
        above = before - bisect_right(ordered, value)
        equal = before + 1 - above - bisect_left(ordered, value)
        found[index] = (above + tau * equal) / (before + 1)
        insort(ordered, value)
    return replace(state, scores=tuple(ordered)), found


def online_p_values(scores: object, *, seed: int) -> FloatArray:
    """P-values of a whole stream, (n,), as of `next_p_values` from nothing.

    Args:
        scores: (n,), in the order of the stream, finite.
        seed: of the draws that break ties, 0 or more.
    """
    return next_p_values(OnlinePValues((), seed), scores)[1]
