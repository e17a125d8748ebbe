"""Conformal predictive systems: a whole distribution for each point, calibrated (Vovk et al. 2017, 2018, 2020).

Split systems: residuals r = (y - point) / difficulty of calibration data are put on the test point's prediction,
c_i = point + difficulty r_(i). The distribution function at y is a conformal p-value,
(#{c_i < y} + tau (#{c_i = y} + 1)) / (n + 1) with tau uniform on [0, 1]; for the true y it is uniform. With groups
(Mondrian) the same holds in each group.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite
from services.uncertainty.conformal.methods.levels import Level, take_smallest, to_fraction, to_level
from services.uncertainty.conformal.methods.regression.interval_bands import around_points_normalised
from services.uncertainty.conformal.methods.sorted_scores import Cell, Labels, SortedScores, sort_scores

FORMAT = 1


@dataclass(frozen=True)
class PredictiveSystem:
    """Sorted residuals, in units of the difficulty, by group."""

    residuals: SortedScores

    def predict(self, points: object, *, difficulty: object | None = None, groups: Labels | None = None) -> Predictive:
        """Distributions of m points.

        Args:
            points: (m,), predictions.
            difficulty: (m,), positive; 1 where not given. As at calibration.
            groups: (m,), where the system has groups.

        Raises:
            ValueError: an argument is not as said above.
        """
        middle, unit = _located(points, difficulty)
        members = self.residuals.members(middle.size, groups)
        return Predictive(middle, unit, self.residuals.cells, members)

    def metadata(self) -> dict[str, Any]:
        """The fields that `to_arrays` leaves out, as a JSON object."""
        residuals = self.residuals
        kind = "predictive-system"
        return {"format": FORMAT, "kind": kind, "groups": list(residuals.labels), "counts": residuals.counts}

    def to_arrays(self) -> dict[str, FloatArray]:
        """Arrays to be kept as NPZ."""
        return self.residuals.to_arrays("residuals")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Self:
        """The system that `to_arrays` and `metadata` describe.

        Raises:
            ValueError: another format, or arrays that do not fit each other.
        """
        if metadata.get("format") != FORMAT or metadata.get("kind") != "predictive-system":
            raise ValueError(f"expected a predictive system of format {FORMAT}")
        return cls(SortedScores.from_arrays(arrays, "residuals", metadata["groups"]))


@dataclass(frozen=True)
class Predictive:
    """Predictive distributions of m points; points of unknown groups know nothing: infinite quantiles, P = tau.

    Attributes:
        points: (m,), predictions.
        difficulty: (m,), units of the residuals.
        cells: the residuals, by group.
        members: for each cell, the places of the points that belong to it.
    """

    points: FloatArray
    difficulty: FloatArray
    cells: tuple[Cell, ...]
    members: list[NDArray[np.intp]]

    def probabilities(self, values: object, *, tau: object = 0.5) -> FloatArray:
        """P(Y <= value) of each point, (m,), in [0, 1].

        Args:
            values: (m,), or one value for all.
            tau: (m,) or one, in [0, 1]: where in the jump to read; uniform draws make true values' probabilities
                uniform, 0 and 1 give the lower and the upper distribution function, 0.5 a steady answer.

        Raises:
            ValueError: an argument is not as said above.
        """
        shape = self.points.shape
        y = require_finite(np.broadcast_to(np.asarray(values, dtype=np.float64), shape), "values")
        jump = require_finite(np.broadcast_to(np.asarray(tau, dtype=np.float64), shape), "tau")
        if ((jump < 0) | (jump > 1)).any():
            raise ValueError("tau must lie in [0, 1]")
        scaled, chances = (y - self.points) / self.difficulty, jump.copy()
        for cell, chosen in self._occupied():
            below = np.searchsorted(cell.scores, scaled[chosen], side="left")
            ties = np.searchsorted(cell.scores, scaled[chosen], side="right") - below
            chances[chosen] = (below + jump[chosen] * (ties + 1)) / (cell.scores.size + 1)
        return chances

    def quantiles(self, level: Level, *, side: Literal["lower", "higher"]) -> FloatArray:
        """Quantile of each point, (m,), in the unit of y; infinite where too few residuals are known.

        Args:
            level: in [0, 1].
            side: lower takes the residual of rank floor(level (n + 1)), higher of rank ceil(level (n + 1)): between
                them lies every quantile of the set-valued function. Intervals take lower for their lower end.

        Raises:
            ValueError: level does not lie in [0, 1].
        """
        share = to_fraction(level)
        if not 0 <= share <= 1:
            raise ValueError(f"level must lie in [0, 1], got {level!r}")
        rounded = math.floor if side == "lower" else math.ceil
        bounds = np.full(self.points.shape, -np.inf if side == "lower" else np.inf)
        for cell, chosen in self._occupied():
            bounds[chosen] = take_smallest(cell.scores, rounded(share * (cell.scores.size + 1)))
        ends: FloatArray = self.points + self.difficulty * bounds
        return ends

    def _occupied(self) -> Iterator[tuple[Cell, NDArray[np.intp]]]:
        """The cells with points, each with the places of its points."""
        return ((cell, chosen) for cell, chosen in zip(self.cells, self.members, strict=True) if len(chosen))

    def intervals(self, alpha: Level) -> tuple[FloatArray, FloatArray]:
        """Ends of central intervals, (m,) each: alpha / 2 on either side; infinite where too few residuals are known.

        Args:
            alpha: miscoverage in (0, 1).
        """
        half = to_level(alpha) / 2
        return self.quantiles(half, side="lower"), self.quantiles(1 - half, side="higher")

    def crps(self, values: object) -> FloatArray:
        """Continuous ranked probability score of each point, (m,), in the unit of y; NaN where no residual is known.

        Of the distribution with mass 1 / n on each c_i, as the conformal one has 1 / (n + 1) at infinity:
        E|C - y| - E|C - C'| / 2 (Gneiting and Raftery 2007, equation 21).

        Args:
            values: (m,), what was observed.
        """
        y = require_finite(values, "values", shape=self.points.shape)
        scaled, losses = (y - self.points) / self.difficulty, np.full(y.shape, np.nan)
        for cell, chosen in self._occupied():
            if cell.scores.size:
                losses[chosen] = _crps(cell.scores, scaled[chosen])
        return losses * self.difficulty


def fit_predictive_system(
    points: object, values: object, *, difficulty: object | None = None, groups: Labels | None = None
) -> PredictiveSystem:
    """Calibrate on n points that the model has not seen.

    Args:
        points: (n,), predictions.
        values: (n,), what was observed.
        difficulty: (n,), what size of error is expected, positive; 1 where not given.
        groups: (n,), a group for each point.

    Raises:
        ValueError: an argument is not as said above.
    """
    middle, unit = _located(points, difficulty)
    residuals = (require_finite(values, "values", shape=middle.shape) - middle) / unit
    return PredictiveSystem(sort_scores(residuals, groups=groups))


def _located(points: object, difficulty: object | None) -> tuple[FloatArray, FloatArray]:
    middle = require_finite(points, "points")
    band = around_points_normalised(middle, np.ones_like(middle) if difficulty is None else difficulty)
    return band.lower, band.above


def _crps(ordered: FloatArray, values: FloatArray) -> FloatArray:
    """By cumulative sums: n log n for the residuals, log n for each value."""
    count = ordered.size
    sums = np.append(0.0, np.cumsum(ordered))
    below = np.searchsorted(ordered, values)
    distance: FloatArray = (values * (2 * below - count) + sums[-1] - 2 * sums[below]) / count
    return distance - float((2 * np.arange(1, count + 1) - count - 1) @ ordered) / count**2
