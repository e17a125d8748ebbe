"""Adaptive conformal inference on a stream (Gibbs and Candès, NeurIPS 2021), and the frame of all online methods.

Each step: `state.bounds()` before the label, make the interval (Band.expand), observe, `step` with the label's scores.
The adaptive level may leave [0, 1]: at 0 or less everything is in, at 1 or more nothing is. Without that (as where the
level is clamped) the theorem |mean error - alpha| <= (max(alpha_1, 1 - alpha_1) + gamma) / (gamma T), which holds for
every sequence, holds no more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, TypeVar

import numpy as np

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite
from services.uncertainty.conformal.methods.levels import ordered_quantile, to_level
from services.uncertainty.conformal.methods.online.states import State, check_numbers

CAPACITY = 1000
"""Default length of the window of the latest scores."""


@dataclass(frozen=True)
class OnlineMethod(State, ABC):
    """Base of the states of all methods on streams.

    Attributes:
        alpha: miscoverage that is aimed at, in (0, 1).
        window: latest scores, oldest first.
        capacity: how many scores the window may hold.
        steps, misses: how many labels were observed, and how many lay outside of their interval.
    """

    alpha: float
    window: tuple[float, ...]
    capacity: int
    steps: int
    misses: int

    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """Bounds of the next label's score below and above its band; infinite: everything, or nothing."""

    @abstractmethod
    def update(self, below: float, above: float, *, missed: bool) -> Self:
        """The state after a label, its counts and window still as they were."""

    @property
    def error(self) -> float:
        """Share of labels that lay outside of their interval; 0 before the first."""
        return self.misses / self.steps if self.steps else 0.0

    def choose_score(self, below: float, above: float) -> float:
        """Choose which of a label's two scores goes into the window: the larger one, that of the symmetric rule."""
        return max(below, above)


Method = TypeVar("Method", bound=OnlineMethod)


def step(state: Method, *, below: float, above: float) -> tuple[Method, bool]:
    """Observe a label.

    Args:
        state: as it was when the interval was made.
        below: the label's score below its band (`Band.sides`), finite.
        above: that above its band; a score that has no sides is given twice.

    Returns:
        The next state, and whether the label lay outside of its interval.

    Raises:
        ValueError: a score is not finite.
    """
    below, above = float(below), float(above)
    check_numbers([below, above])
    lower, upper = state.bounds()
    missed = below > lower or above > upper
    after = state.update(below, above, missed=missed)
    window = (*state.window, state.choose_score(below, above))[-state.capacity :]
    return replace(after, window=window, steps=state.steps + 1, misses=state.misses + missed), missed


@dataclass(frozen=True)
class ACI(OnlineMethod):
    """Adaptive conformal inference.

    Attributes:
        gamma: step size of the level, positive.
        first_level: alpha_1.
        level: alpha_t, any number.
    """

    KIND: ClassVar[str] = "aci"
    gamma: float
    first_level: float
    level: float

    def bounds(self) -> tuple[float, float]:
        """The window's quantile at the present level, on both sides."""
        bound = ordered_quantile(np.sort(np.array(self.window, dtype=np.float64)), self.level)
        return bound, bound

    def update(self, below: float, above: float, *, missed: bool) -> Self:
        """alpha_{t+1} = alpha_t + gamma (alpha - error_t)."""
        del below, above
        return replace(self, level=self.level + self.gamma * (self.alpha - missed))

    @property
    def error_bound(self) -> float:
        """Bound of |error - alpha| on any sequence (Gibbs and Candès 2021, proposition 4.1)."""
        return adaptive_error_bound(self.first_level, self.gamma, max(self.steps, 1))


def create_aci(
    alpha: float,
    *,
    gamma: float,
    scores: Sequence[float] | FloatArray = (),
    capacity: int = CAPACITY,
    first_level: float | None = None,
) -> ACI:
    """Begin adaptive conformal inference.

    Args:
        alpha: miscoverage that is aimed at, in (0, 1).
        gamma: step size, positive; with 0 the window alone would adapt.
        scores: of earlier data, oldest first, finite; without any the first intervals are infinite.
        capacity: how many of the latest scores are kept, 1 or more.
        first_level: alpha_1 in [0, 1]; alpha where not given.

    Raises:
        ValueError: an argument is not as said above.
    """
    first = float(alpha) if first_level is None else float(first_level)
    if not 0 <= first <= 1:
        raise ValueError(f"first_level must lie in [0, 1], got {first_level!r}")
    window = create_window(alpha, scores, capacity)
    check_gammas([gamma])
    return ACI(float(alpha), window, capacity, 0, 0, float(gamma), first, first)


def adaptive_error_bound(first_level: float, gamma: float, steps: int) -> float:
    """(max(alpha_1, 1 - alpha_1) + gamma) / (gamma T), for T of 1 or more."""
    return (max(first_level, 1 - first_level) + gamma) / (gamma * steps)


def create_window(alpha: float, scores: Sequence[float] | FloatArray, capacity: int) -> tuple[float, ...]:
    """The latest of the scores as a window; alpha, scores and capacity checked.

    Raises:
        ValueError: alpha does not lie in (0, 1), scores are not finite, or capacity is below 1.
    """
    to_level(alpha)
    if capacity < 1:
        raise ValueError(f"capacity must be 1 or more, got {capacity!r}")
    return tuple(require_finite(scores, "scores").tolist()[-capacity:])


def check_gammas(gammas: Sequence[float]) -> tuple[float, ...]:
    """Step sizes, at least one, each positive and finite.

    Raises:
        ValueError: they are not.
    """
    if not gammas or not all(0 < gamma < float("inf") for gamma in gammas):
        raise ValueError(f"step sizes must be positive and finite, got {list(gammas)!r}")
    return tuple(float(gamma) for gamma in gammas)
