"""Calibration scores in ascending order, by cell: quantiles of any level can be taken of them later.

A cell is a group of a Mondrian taxonomy (Vovk, Gammerman, Shafer 2005, section 4.5), or all there is. Weights, where
there are any, stay with the score that they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite
from services.uncertainty.conformal.methods.coverage_distribution import effective_sample_size
from services.uncertainty.conformal.methods.levels import Level, WeightedScores, ordered_quantile, to_level

Labels = Sequence[str] | NDArray[np.str_]

EVERYTHING = ""
"""The one cell of a calibration that has no groups."""


@dataclass(frozen=True)
class Cell:
    """The scores of one group.

    Attributes:
        label: the group.
        scores: (n,), ascending.
        weights: (n,), in the order of the scores, or None for equal ones.
    """

    label: str
    scores: FloatArray
    weights: FloatArray | None = None

    @property
    def effective_count(self) -> float:
        """Number of scores, or of equal weights that say as much."""
        return float(self.scores.size) if self.weights is None else effective_sample_size(self.weights)


@dataclass(frozen=True)
class SortedScores:
    """Scores by cell; cells in the order of their labels."""

    cells: tuple[Cell, ...]

    @property
    def weighted(self) -> bool:
        """Whether quantiles need the weight of each test point."""
        return any(cell.weights is not None for cell in self.cells)

    @property
    def labels(self) -> tuple[str, ...]:
        """Each cell's label."""
        return tuple(cell.label for cell in self.cells)

    @property
    def counts(self) -> dict[str, int]:
        """Number of scores in each cell."""
        return {cell.label: cell.scores.size for cell in self.cells}

    def quantiles(
        self, alpha: Level, count: int, *, groups: Labels | None = None, weights: object | None = None
    ) -> FloatArray:
        """The bound of each test point's set.

        Args:
            alpha: miscoverage in (0, 1).
            count: number m of test points.
            groups: (m,), each test point's group; needed where the calibration has groups.
            weights: (m,), each test point's weight, not negative; needed where the calibration has weights.

        Returns:
            (m,), infinite where too few scores are known, among them all points of unknown groups.

        Raises:
            ValueError: groups or weights are missing, superfluous, or not as said above.
        """
        level = to_level(alpha)
        test_weights = self._test_weights(weights, count)
        bounds = np.full(count, np.inf)
        for cell, members in zip(self.cells, self.members(count, groups), strict=True):
            if not len(members):
                continue
            if cell.weights is None:
                bounds[members] = ordered_quantile(cell.scores, level)
            else:
                bounds[members] = WeightedScores(cell.scores, cell.weights).quantiles(test_weights[members], level)
        return bounds

    def members(self, count: int, groups: Labels | None) -> list[NDArray[np.intp]]:
        """For each cell, the places of the test points that belong to it."""
        grouped = self.labels != (EVERYTHING,)
        if grouped != (groups is not None):
            raise ValueError("groups are needed exactly where the calibration has groups")
        if groups is None:
            return [np.arange(count)]
        labels, place = np.unique(group_names(groups, count), return_inverse=True)
        parts = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
        found = dict(zip(labels.tolist(), parts, strict=True))
        return [found.get(cell.label, np.empty(0, np.intp)) for cell in self.cells]

    def _test_weights(self, weights: object | None, count: int) -> FloatArray:
        if self.weighted != (weights is not None):
            raise ValueError("weights of test points are needed exactly where the calibration has weights")
        return np.ones(count) if weights is None else require_not_negative(weights, "weights", count)

    def to_arrays(self, prefix: str) -> dict[str, FloatArray]:
        """Arrays that `from_arrays` reads, to be kept as NPZ: scores, weights if any, and each cell's end."""
        ends = np.cumsum([cell.scores.size for cell in self.cells], dtype=np.float64)
        scores = np.concatenate([np.empty(0), *(cell.scores for cell in self.cells)])
        arrays = {f"{prefix}.scores": scores, f"{prefix}.ends": ends}
        if self.weighted:
            arrays[f"{prefix}.weights"] = np.concatenate([_drop_weightless(cell.weights) for cell in self.cells])
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str, labels: Sequence[str]) -> SortedScores:
        """The scores that `to_arrays` wrote, with the cells' labels.

        Raises:
            ValueError: the arrays do not fit each other, or scores are not finite and ascending.
        """
        scores = require_finite(arrays[f"{prefix}.scores"], "scores")
        kept = arrays.get(f"{prefix}.weights")
        weights = None if kept is None else require_not_negative(kept, "weights", scores.size)
        ends = [0, *(int(end) for end in arrays[f"{prefix}.ends"])]
        if len(ends) != len(labels) + 1 or ends != sorted(ends) or ends[-1] != scores.size:
            raise ValueError("the ends of the cells do not fit the scores")
        spans = [slice(first, last) for first, last in pairwise(ends)]
        if any((np.diff(scores[span]) < 0).any() for span in spans):
            raise ValueError("scores are not in ascending order")
        named = zip(labels, spans, strict=True)
        return cls(tuple(Cell(name, scores[s], None if weights is None else weights[s]) for name, s in named))


def sort_scores(scores: object, *, groups: Labels | None = None, weights: object | None = None) -> SortedScores:
    """Calibration scores in ascending order, by group, each with its own weight.

    Args:
        scores: (n,), finite.
        groups: (n,), each score's group; an empty label is not allowed.
        weights: (n,), likelihood ratios of the test to the calibration inputs up to a factor; finite, not negative.

    Raises:
        ValueError: an argument is not as said above.
    """
    values = require_finite(scores, "scores")
    mass = None if weights is None else require_not_negative(weights, "weights", values.size)
    if groups is None:
        return SortedScores((_cell(EVERYTHING, values, mass),))
    labels, place = np.unique(group_names(groups, values.size), return_inverse=True)
    order = np.argsort(place, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(place))[:-1])
    named = zip(labels, parts, strict=True)
    return SortedScores(
        tuple(_cell(str(label), values[part], None if mass is None else mass[part]) for label, part in named)
    )


def group_names(groups: Labels, count: int) -> NDArray[np.str_]:
    """Groups as an array of text, checked.

    Raises:
        ValueError: not one label for each point, or an empty label.
    """
    names = np.asarray(groups).astype(np.str_)
    if names.shape != (count,):
        raise ValueError(f"groups must have the shape ({count},), got {names.shape}")
    if (names == EVERYTHING).any():
        raise ValueError("a group's label must not be empty")
    return names


def require_not_negative(values: object, name: str, count: int) -> FloatArray:
    """Finite values of at least 0, (count,)."""
    array = require_finite(values, name, shape=(count,))
    if (array < 0).any():
        raise ValueError(f"{name} must not be negative")
    return array


def _cell(label: str, scores: FloatArray, weights: FloatArray | None) -> Cell:
    order = np.argsort(scores, kind="stable")
    return Cell(label, scores[order], None if weights is None else weights[order])


def _drop_weightless(weights: FloatArray | None) -> FloatArray:
    if weights is None:
        raise ValueError("some cells have weights and some have none")
    return weights
