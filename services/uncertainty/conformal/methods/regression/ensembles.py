"""Ensembles without a calibration set: each point is predicted by the models that have not seen it.

- Jackknife+ after bootstrap (Kim, Xu, Barber, NeurIPS 2020): coverage of at least 1 - 2 alpha for exchangeable data.
- EnbPI (Xu and Xie, ICML 2021 and TPAMI 2023): the same residuals in a window that slides along a time series;
  approximately valid where the errors change slowly.

The models are the caller's: predictions of B bootstrap models, and which points each was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite
from services.uncertainty.conformal.methods.levels import (
    Level,
    conformal_rank,
    ordered_quantile,
    take_smallest,
    to_level,
)
from services.uncertainty.conformal.methods.online.adaptive_inference import OnlineMethod, create_window

Average = Literal["mean", "median"]


@dataclass(frozen=True)
class OutOfBag:
    """Which models have not seen which point.

    Attributes:
        outside: (B, n), True where model b was not trained on point i.
        average: how models are put together.
    """

    outside: NDArray[np.bool_]
    average: Average

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(n,), points that some model has not seen; the others have no residual."""
        return np.asarray(self.outside.any(axis=0), dtype=np.bool_)

    def of_training(self, predictions: object) -> FloatArray:
        """Out-of-bag prediction of each usable training point, (u,).

        Args:
            predictions: (B, n), each model's prediction of each training point.
        """
        values = require_finite(predictions, "predictions", shape=self.outside.shape)[:, self.usable]
        outside = self.outside[:, self.usable]
        if self.average == "mean":
            return np.asarray(values.mean(axis=0, where=outside), dtype=np.float64)
        return np.asarray(np.nanmedian(np.where(outside, values, np.nan), axis=0), dtype=np.float64)

    def of_new(self, predictions: object) -> FloatArray:
        """Predictions of m new points by the models that left out each usable training point, (u, m).

        Args:
            predictions: (B, m), each model's prediction of each new point.
        """
        values = require_finite(predictions, "predictions", shape=(len(self.outside), None))
        outside = self.outside[:, self.usable].T
        if self.average == "mean":
            return np.asarray(outside / outside.sum(axis=1, keepdims=True) @ values, dtype=np.float64)
        return np.stack([np.median(values[chosen], axis=0) for chosen in outside])


def out_of_bag(in_bag: object, *, average: Average = "mean") -> OutOfBag:
    """Begin with what each model was trained on.

    Args:
        in_bag: (B, n), boolean, B and n at least 1.
        average: mean or median of the models.

    Raises:
        ValueError: in_bag is not as said above, or every model has seen every point.
    """
    seen = np.asarray(in_bag)
    if seen.dtype != np.bool_ or seen.ndim != 2 or seen.all():
        raise ValueError("in_bag must be a boolean array (models, points) with a point that some model has not seen")
    return OutOfBag(~seen, average)


def jackknife_after_bootstrap(
    leave_one_out: FloatArray, residuals: FloatArray, alpha: Level
) -> tuple[FloatArray, FloatArray]:
    """Intervals from order statistics of prediction -+ residual over the points that were left out.

    Args:
        leave_one_out: (u, m), from `OutOfBag.of_new`.
        residuals: (u,), absolute out-of-bag residuals.
        alpha: in (0, 1); coverage is at least 1 - 2 alpha, mostly near 1 - alpha.

    Returns:
        Lower and upper ends, (m,) each; infinite where u is too small.
    """
    level, sizes = to_level(alpha), np.abs(residuals)[:, None]
    rank = conformal_rank(residuals.size, level)
    highest = np.sort(leave_one_out + sizes, axis=0)
    # The lower end is the mirror image: rank-th largest of prediction minus residual.
    lowest = np.sort(sizes - leave_one_out, axis=0)
    upper = np.array([take_smallest(column, rank) for column in highest.T])
    lower = np.array([-take_smallest(column, rank) for column in lowest.T])
    return lower, upper


@dataclass(frozen=True)
class SlidingResiduals(OnlineMethod):
    """EnbPI's window of signed residuals y - prediction, the oldest of which goes when a new one comes.

    Attributes:
        narrowest: whether the two sides are chosen for the shortest interval (TPAMI 2023, equation 6), over all order
            statistics; otherwise the absolute residuals' quantile bounds both sides (ICML 2021). The choice is made
            on the same residuals, so that short windows cover too little: 85 % for 90 % with 50 normal residuals.
    """

    KIND: ClassVar[str] = "enbpi"
    narrowest: bool

    def bounds(self) -> tuple[float, float]:
        """Bounds below and above the ensemble's prediction; infinite while residuals are too few."""
        residuals = np.sort(np.array(self.window, dtype=np.float64))
        if not self.narrowest:
            bound = ordered_quantile(np.sort(np.abs(residuals)), self.alpha)
            return bound, bound
        held = conformal_rank(residuals.size, self.alpha)
        if held > residuals.size:
            return np.inf, np.inf
        first = int(np.argmin(residuals[held - 1 :] - residuals[: residuals.size - held + 1]))
        return float(-residuals[first]), float(residuals[first + held - 1])

    def update(self, below: float, above: float, *, missed: bool) -> Self:
        """Nothing but the window moves.

        Raises:
            ValueError: the scores are not those of a point without width, below = -above.
        """
        del missed
        if below != -above:
            raise ValueError("EnbPI takes signed residuals: the score below must be minus the score above")
        return self

    def choose_score(self, below: float, above: float) -> float:
        """Choose the signed residual, y minus prediction, for the window."""
        del below
        return above


def create_sliding_residuals(
    alpha: float, residuals: object, *, capacity: int | None = None, narrowest: bool = True
) -> SlidingResiduals:
    """Begin EnbPI.

    Args:
        alpha: miscoverage that is aimed at, in (0, 1).
        residuals: (u,), signed out-of-bag residuals of the training points, oldest first.
        capacity: how many of the latest are kept; all that there are where not given.
        narrowest: see `SlidingResiduals`.

    Raises:
        ValueError: an argument is not as said above.
    """
    known = require_finite(residuals, "residuals")
    size = max(known.size, 1) if capacity is None else capacity
    return SlidingResiduals(float(alpha), create_window(alpha, known, size), size, 0, 0, narrowest)
