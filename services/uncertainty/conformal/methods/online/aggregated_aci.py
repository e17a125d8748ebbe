"""Adaptive conformal inference without a step size to choose: several run side by side and are aggregated.

- AgACI (Zaffran et al., ICML 2022): the experts' lower and upper ends are aggregated by Bernstein online aggregation
  (Wintenberger 2017), each end with weights of its own, on the pinball loss.
- DtACI (Gibbs and Candès, JMLR 2024): the experts' levels are averaged with exponential weights on the pinball loss of
  the label's p-value, and weight is shared so that it can come back.

Every expert keeps its own level and is told its own error, so the theorem of ACI holds for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.levels import ordered_quantile
from services.uncertainty.conformal.methods.online.adaptive_inference import (
    CAPACITY,
    OnlineMethod,
    check_gammas,
    create_window,
)

GAMMAS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
"""Of Gibbs and Candès 2024, section 3."""

SMALLEST_RANGE = 2.0**-20
"""Of gradients: where Bernstein online aggregation begins."""

INTERVAL = 100
"""For how many steps DtACI is to be no worse than the best expert, unless told otherwise."""


@dataclass(frozen=True)
class AgACI(OnlineMethod):
    """AgACI.

    Attributes:
        gammas: (K,), the experts' step sizes.
        levels: (K,), their levels.
        regrets, variances, ranges: (2 K,), of the aggregation: first the K of the lower end, then of the upper.
    """

    KIND: ClassVar[str] = "agaci"
    gammas: tuple[float, ...]
    levels: tuple[float, ...]
    regrets: tuple[float, ...]
    variances: tuple[float, ...]
    ranges: tuple[float, ...]

    def expert_bounds(self) -> FloatArray:
        """(K,), each expert's bound, infinite as ACI has it."""
        return _bounds(self.window, self.levels)

    def bounds(self) -> tuple[float, float]:
        """Weighted means of the experts' bounds.

        Means need numbers: an infinite bound counts as the largest score in the window, or minus infinity as the
        smallest. With an empty window everything is in.
        """
        if not self.window:
            return math.inf, math.inf
        below, above = self.weights() @ self._numbers()
        return float(below), float(above)

    def weights(self) -> FloatArray:
        """(2, K), the experts' weights for the lower and the upper end, each row adding up to 1."""
        rates = _rates(np.array(self.variances), np.array(self.ranges), len(self.gammas))
        logarithms = (np.log(rates) + rates * np.array(self.regrets)).reshape(2, -1)
        shares = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)

    def update(self, below: float, above: float, *, missed: bool) -> Self:
        """Each expert by its own error; the weights by the pinball loss of either end at level 1 - alpha / 2."""
        del missed
        bounds = self.expert_bounds()
        levels = _levels(self.levels, self.gammas, self.alpha, max(below, above) > bounds)
        if not self.window:
            return replace(self, levels=levels)
        scores = np.array([below, above])
        means = np.array(self.bounds())
        slopes = (scores < means) - (1 - self.alpha / 2)
        regrets = (slopes[:, None] * (means[:, None] - self._numbers())).ravel()
        ranges = np.maximum(np.array(self.ranges), np.abs(regrets))
        variances = np.array(self.variances) + regrets**2
        rates = _rates(variances, ranges, len(self.gammas))
        surprise = _power_of_two(ranges) * (rates * regrets > 0.5)
        gains = (regrets - rates * regrets**2 + surprise) / 2
        return replace(
            self,
            levels=levels,
            regrets=tuple((np.array(self.regrets) + gains).tolist()),
            variances=tuple(variances.tolist()),
            ranges=tuple(ranges.tolist()),
        )

    def _numbers(self) -> FloatArray:
        return np.clip(self.expert_bounds(), min(self.window), max(self.window))


def create_agaci(
    alpha: float,
    *,
    gammas: Sequence[float] = GAMMAS,
    scores: Sequence[float] | FloatArray = (),
    capacity: int = CAPACITY,
) -> AgACI:
    """Begin AgACI; arguments and errors as of `online.create_aci`, with a step size for each expert."""
    window, steps = create_window(alpha, scores, capacity), check_gammas(gammas)
    nothing = (0.0,) * (2 * len(steps))
    ranges = (SMALLEST_RANGE,) * len(nothing)
    return AgACI(float(alpha), window, capacity, 0, 0, steps, (float(alpha),) * len(steps), nothing, nothing, ranges)


@dataclass(frozen=True)
class DtACI(OnlineMethod):
    """DtACI, its deterministic form: the level is the mean of the experts' levels.

    Attributes:
        gammas: (K,), the experts' step sizes.
        levels: (K,), their levels.
        weights: (K,), their weights, adding up to 1.
        rate: eta, how fast weights move.
        share: sigma, how much weight is shared out at each step.
    """

    KIND: ClassVar[str] = "dtaci"
    gammas: tuple[float, ...]
    levels: tuple[float, ...]
    weights: tuple[float, ...]
    rate: float
    share: float

    @property
    def level(self) -> float:
        """The mean of the experts' levels."""
        return float(np.dot(self.weights, self.levels))

    def bounds(self) -> tuple[float, float]:
        """The window's quantile at the mean level, on both sides."""
        bound = float(_bounds(self.window, (self.level,))[0])
        return bound, bound

    def update(self, below: float, above: float, *, missed: bool) -> Self:
        """Algorithm 2 of Gibbs and Candès 2024, with the label's p-value as beta_t."""
        del missed
        score = max(below, above)
        beta = (sum(one >= score for one in self.window) + 1) / (len(self.window) + 1)
        distance = beta - np.array(self.levels)
        losses = self.alpha * distance - np.minimum(0, distance)
        logarithms = np.log(np.array(self.weights)) - self.rate * losses
        shares = np.exp(logarithms - logarithms.max())
        mixed = (1 - self.share) * shares / shares.sum() + self.share / shares.size
        levels = _levels(self.levels, self.gammas, self.alpha, score > _bounds(self.window, self.levels))
        return replace(self, levels=levels, weights=tuple((mixed / mixed.sum()).tolist()))


def create_dtaci(
    alpha: float,
    *,
    gammas: Sequence[float] = GAMMAS,
    scores: Sequence[float] | FloatArray = (),
    capacity: int = CAPACITY,
    interval: int = INTERVAL,
) -> DtACI:
    """Begin DtACI; arguments and errors as of `online.create_aci`, with a step size for each expert.

    The regret is to be small over any `interval` steps, 1 or more, which sets eta and sigma (the paper's section 3).
    """
    window, steps = create_window(alpha, scores, capacity), check_gammas(gammas)
    if interval < 1:
        raise ValueError(f"interval must be 1 or more, got {interval!r}")
    rate = math.sqrt(3 / interval * (math.log(len(steps) * interval) + 2)) / ((1 - alpha) * alpha)
    levels, weights = (float(alpha),) * len(steps), (1 / len(steps),) * len(steps)
    return DtACI(float(alpha), window, capacity, 0, 0, steps, levels, weights, rate, 1 / (2 * interval))


def _bounds(window: tuple[float, ...], levels: tuple[float, ...]) -> FloatArray:
    ordered = np.sort(np.array(window, dtype=np.float64))
    return np.array([ordered_quantile(ordered, level) for level in levels])


def _levels(
    levels: tuple[float, ...],
    gammas: tuple[float, ...],
    alpha: float,
    missed: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> tuple[float, ...]:
    after = np.array(levels) + np.array(gammas) * (alpha - missed)
    return tuple(after.tolist())


def _power_of_two(ranges: FloatArray) -> FloatArray:
    return np.asarray(2.0 ** np.ceil(np.log2(ranges)), dtype=np.float64)


def _rates(variances: FloatArray, ranges: FloatArray, experts: int) -> FloatArray:
    """Learning rates of Bernstein online aggregation, min(1 / range, sqrt(log K / variance))."""
    with np.errstate(over="ignore"):  # where nothing varied the other rate is the smaller one
        slow = np.sqrt(np.log(max(experts, 2)) / np.maximum(variances, np.finfo(np.float64).tiny))
    rates: FloatArray = np.minimum(1 / _power_of_two(ranges), slow)
    return rates
