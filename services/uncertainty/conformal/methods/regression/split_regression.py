"""Split conformal regression: calibrate once, ask for intervals at any level, in groups or under a weighted shift.

The score itself is a `Band` (bands.py); densities on bins, whose sets are unions of intervals, are in r2ccp.py.

For exchangeable data and the symmetric rule 1 - alpha <= P(y in interval), below 1 - alpha + 1 / (n + 1) without ties;
over the draw of calibration and test data, not given either. With groups the same holds in each group. The asymmetric
rule bounds each side at alpha / 2. Weights make it hold under covariate shift if they are the true density ratios.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.levels import Level, needed_count, to_level
from services.uncertainty.conformal.methods.regression.interval_bands import Band
from services.uncertainty.conformal.methods.sorted_scores import Labels, SortedScores, sort_scores

FORMAT = 1
"""Version of what `RegressionCalibration.metadata` says."""


@dataclass(frozen=True)
class Intervals:
    """Prediction intervals of m points.

    Attributes:
        lower, upper: (m,), ends in the unit of y; infinite where too few scores are known. Crossed ends: the empty set.
        required: fewest scores in a cell that make intervals finite at this level.
        crossed: how many points had quantiles out of order, which were sorted.
    """

    lower: FloatArray
    upper: FloatArray
    required: int
    crossed: int

    @property
    def empty(self) -> NDArray[np.bool_]:
        """(m,), which hold nothing: a band wider than the level needs shrinks past its middle."""
        return self.lower > self.upper

    @property
    def unbounded(self) -> NDArray[np.bool_]:
        """(m,), which have an infinite end."""
        return np.isinf(self.lower) | np.isinf(self.upper)

    @property
    def lengths(self) -> FloatArray:
        """(m,), 0 for empty ones."""
        return np.where(self.empty, 0.0, self.upper - self.lower)

    def contain(self, values: object) -> NDArray[np.bool_]:
        """(m,), which hold their value."""
        y = np.asarray(values, dtype=np.float64)
        held: NDArray[np.bool_] = (self.lower <= y) & (y <= self.upper)
        return held


@dataclass(frozen=True)
class RegressionCalibration:
    """Sorted scores of calibration data.

    Attributes:
        score: name of the score, by which callers find the band to predict with.
        tails: one list of scores, or those below and those above where the two sides are bounded by themselves.
    """

    score: str
    tails: tuple[SortedScores, ...]

    @property
    def asymmetric(self) -> bool:
        """Whether each side has a bound of its own, at alpha / 2."""
        return len(self.tails) == 2

    def intervals(
        self, band: Band, alpha: Level, *, groups: Labels | None = None, weights: object | None = None
    ) -> Intervals:
        """Prediction intervals.

        Args:
            band: of m test points, made as for calibration.
            alpha: miscoverage in (0, 1).
            groups: (m,), where the calibration has groups; an unknown group gets the whole line.
            weights: (m,), where the calibration has weights.

        Raises:
            ValueError: an argument is not as said above.
        """
        level = to_level(alpha) / len(self.tails)
        bounds = [tail.quantiles(level, band.lower.size, groups=groups, weights=weights) for tail in self.tails]
        lower, upper = band.expand(bounds[0], bounds[-1])
        return Intervals(lower, upper, needed_count(level), band.crossed)

    def metadata(self) -> dict[str, Any]:
        """The fields that `to_arrays` leaves out, as a JSON object."""
        return {
            "format": FORMAT,
            "kind": "regression",
            "score": self.score,
            "asymmetric": self.asymmetric,
            "groups": list(self.tails[0].labels),
            "counts": self.tails[0].counts,
            "effective_counts": {cell.label: cell.effective_count for cell in self.tails[0].cells},
        }

    def to_arrays(self) -> dict[str, FloatArray]:
        """Arrays to be kept as NPZ."""
        arrays: dict[str, FloatArray] = {}
        for index, tail in enumerate(self.tails):
            arrays |= tail.to_arrays(f"tail{index}")
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Self:
        """The calibration that `to_arrays` and `metadata` describe.

        Raises:
            ValueError: another format, or arrays that do not fit each other.
        """
        if metadata.get("format") != FORMAT or metadata.get("kind") != "regression":
            raise ValueError(f"expected a regression calibration of format {FORMAT}")
        count = 2 if metadata["asymmetric"] else 1
        tails = (SortedScores.from_arrays(arrays, f"tail{index}", metadata["groups"]) for index in range(count))
        return cls(str(metadata["score"]), tuple(tails))


def calibrate(
    band: Band,
    values: object,
    *,
    score: str,
    asymmetric: bool = False,
    groups: Labels | None = None,
    weights: object | None = None,
) -> RegressionCalibration:
    """Calibrate on n points that the model has not seen.

    Args:
        band: of the calibration points.
        values: (n,), what was observed.
        score: name of the score that the band belongs to.
        asymmetric: bound each side by itself.
        groups: (n,), a group for each point: guarantees hold in each group.
        weights: (n,), ratios of the test to the calibration density of the inputs, up to a common factor.

    Raises:
        ValueError: an argument is not as said above.
    """
    sides = band.sides(values) if asymmetric else (band.scores(values),)
    return RegressionCalibration(score, tuple(sort_scores(side, groups=groups, weights=weights) for side in sides))


def upper_bounds(calibration: SortedScores, points: FloatArray, alpha: Level) -> FloatArray:
    """One-sided bounds by the signed residual y - point: y exceeds them with probability of at most alpha.

    Args:
        calibration: signed residuals, sorted.
        points: (m,), predictions.
        alpha: miscoverage in (0, 1).

    Returns:
        (m,), infinite where too few residuals are known.
    """
    return points + calibration.quantiles(alpha, points.size)
