"""Quantile tracking and conformal PID control (Angelopoulos, Candès, Tibshirani, NeurIPS 2023).

The bound itself is moved, not a level: up after a miss, down after a hit. An integrator pushes the more the errors have
added up, to infinity where they leave what is allowed; a forecast of the score (the caller's scorecaster) is added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.online.adaptive_inference import OnlineMethod, check_gammas, create_window

WINDOW = 100
"""Over how many of the latest scores their scale is taken, unless told otherwise."""


@dataclass(frozen=True)
class ConformalPID(OnlineMethod):
    """Quantile tracking, with an integrator where its gain is positive.

    Attributes:
        step_size: of the tracked bound after a miss; in the score's unit, or a share of the scale of the window.
        relative: whether it is a share.
        tracked: the bound by tracking alone.
        gain: K_I of the integrator in the score's unit, 0 for none.
        saturation: C_sat of the integrator, positive.
        forecast: of the next label's score, added to the bound; 0 where the caller has none.
    """

    KIND: ClassVar[str] = "conformal-pid"
    step_size: float
    relative: bool
    tracked: float
    gain: float
    saturation: float
    forecast: float

    def bounds(self) -> tuple[float, float]:
        """Tracked bound, integrator and forecast, added up; the same on both sides."""
        bound = self.tracked + self.integrate() + self.forecast
        return bound, bound

    def integrate(self) -> float:
        """r_t = K_I tan(sum of (error - alpha) log(t + 1) / ((t + 1) C_sat)), infinite past the tangent's poles."""
        if self.gain == 0 or self.steps == 0:
            return 0.0
        excess = self.misses - self.alpha * self.steps
        angle = excess * math.log(self.steps + 1) / (self.saturation * (self.steps + 1))
        return self.gain * math.tan(angle) if abs(angle) < math.pi / 2 else math.copysign(math.inf, angle)

    def update(self, below: float, above: float, *, missed: bool) -> Self:
        """q_{t+1} = q_t + eta_t (error_t - alpha); the forecast is used up.

        A relative eta_t is a share of the range of the latest scores and 0: of distances from a prediction that is the
        largest, as in the paper. The range of the scores alone is nothing where they are all alike, and a bound that
        is too low would stay so for ever.
        """
        seen = (0.0, *(*self.window, max(below, above))[-self.capacity :])
        size = self.step_size * (max(seen) - min(seen)) if self.relative else self.step_size
        return replace(self, tracked=self.tracked + size * (missed - self.alpha), forecast=0.0)

    def with_forecast(self, forecast: float) -> Self:
        """The state for which the next label's score was forecast.

        Raises:
            ValueError: the forecast is not finite.
        """
        if not math.isfinite(forecast):
            raise ValueError(f"forecast must be finite, got {forecast!r}")
        return replace(self, forecast=float(forecast))


def create_conformal_pid(
    alpha: float,
    *,
    step_size: float = 0.1,
    relative: bool = True,
    first_bound: float = 0.0,
    gain: float = 0.0,
    saturation: float = 1.0,
    scores: Sequence[float] | FloatArray = (),
    capacity: int = WINDOW,
) -> ConformalPID:
    """Begin quantile tracking, or conformal PID where gain is positive.

    Args:
        alpha: miscoverage that is aimed at, in (0, 1).
        step_size: positive; see `ConformalPID`. For scores in [0, b], a fixed size eta, no integrator and a first bound
            in [0, b], |mean error - alpha| <= (b + eta) / (eta T) (proposition 1).
        relative: whether it is a share of the scale of the latest scores, see `ConformalPID.update`.
        first_bound: q_1, finite.
        gain: of the integrator, 0 or more.
        saturation: of the integrator, positive; `saturation_for` has the paper's rule.
        scores: of earlier data, oldest first; they set the first scales.
        capacity: over how many scores the scale is taken.

    Raises:
        ValueError: an argument is not as said above.
    """
    window = create_window(alpha, scores, capacity)
    check_gammas([step_size, saturation])
    if not (math.isfinite(first_bound) and 0 <= gain < math.inf):
        raise ValueError("first_bound must be finite and gain 0 or more")
    return ConformalPID(
        alpha=float(alpha),
        window=window,
        capacity=capacity,
        steps=0,
        misses=0,
        step_size=float(step_size),
        relative=relative,
        tracked=float(first_bound),
        gain=float(gain),
        saturation=float(saturation),
        forecast=0.0,
    )


def choose_saturation(horizon: int, tolerance: float) -> float:
    """C_sat with which errors stay within a tolerance over a horizon (the paper's section 2.2 and its code).

    Args:
        horizon: number of steps T, 3 or more.
        tolerance: of the mean error, positive.
    """
    grown = math.log(horizon)
    return 2 / math.pi * (math.ceil(grown * tolerance) - 1 / grown)
