"""The nearest-neighbour score: features instead of logits, distances to items of a training set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray

from services.uncertainty.conformal.interruption import check_interruption
from services.uncertainty.conformal.methods.scores.base import Inputs, Labels, Score, Values, check_labels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KNN(Score):
    """Sum of the k smallest distances to training items of the label, over that to items of all other labels.

    Proedrou et al. 2002. Infinite where the label has fewer than k training items; 1 where both sums are 0.

    Attributes:
        features: of the training items, float64 (T, F), finite; disjoint from the calibration items.
        labels: of the training items, (T,).
        classes: K, the number of labels.
        neighbours: k >= 1.
        norm: p > 0 of the Minkowski distance, or "cosine" for one minus the cosine.
    """

    name: ClassVar[str] = "knn"
    features: NDArray[np.float64] = field(repr=False)
    labels: NDArray[np.intp] = field(repr=False)
    classes: int
    neighbours: int = 1
    norm: float | str = 2.0

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or not np.isfinite(self.features).all():
            raise ValueError("features must be finite (T, F)")
        check_labels(self.labels, len(self.features), self.classes)
        if self.neighbours < 1:
            raise ValueError("neighbours must be at least 1")
        if self.norm != "cosine" and (isinstance(self.norm, str) or not self.norm > 0):
            raise ValueError(f"norm must be positive or 'cosine', not {self.norm!r}")

    def classes_of(self, inputs: Inputs) -> int:
        """K of the training items.

        Raises:
            ValueError: another number of features.
        """
        if inputs.shape[1:] != self.features.shape[1:]:
            raise ValueError(f"items have {inputs.shape[1:]} features, training items {self.features.shape[1:]}")
        return self.classes

    def _all(self, values: Values, uniforms: Values) -> Values:
        parts = []
        for start in range(0, len(values), _ROWS):
            check_interruption()
            parts.append(self._few(values[start : start + _ROWS]))
        return np.concatenate(parts)

    def _labelled(self, values: Values, labels: Labels, uniforms: Values) -> Values:
        chosen: Values = self._all(values, uniforms)[np.arange(len(values)), labels]
        return chosen

    def _few(self, values: Values) -> Values:
        distances = self._distances(values)
        nearest = np.full((len(values), self.classes, self.neighbours), np.inf)
        for label in range(self.classes):
            own = distances[:, self.labels == label]
            kept = min(self.neighbours, own.shape[1])
            if kept:
                nearest[:, label, :kept] = np.sort(np.partition(own, kept - 1, axis=1)[:, :kept], axis=1)
        same, other = nearest.sum(axis=2), self._sums_of_others(nearest)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = same / other
        return np.where(np.isinf(same), np.inf, np.where((same == 0) & (other == 0), 1.0, ratio))

    def _sums_of_others(self, nearest: Values) -> Values:
        """Sum, for each label, the k smallest distances to training items of all other labels.

        Every label has k entries, so the 2k smallest of all hold the k smallest of the others whatever the label.
        """
        flat = nearest.reshape(len(nearest), -1)
        order = np.argsort(flat, axis=1, kind="stable")[:, : 2 * self.neighbours]
        smallest = np.take_along_axis(flat, order, axis=1)[:, None, :]
        foreign = (order // self.neighbours)[:, None, :] != np.arange(self.classes)[:, None]
        counted = foreign & (np.cumsum(foreign, axis=2) <= self.neighbours)
        sums: Values = np.where(counted, smallest, 0).sum(axis=2)
        return sums

    def _distances(self, values: Values) -> Values:
        metric: dict[str, Any] = (
            {"metric": "cosine"} if isinstance(self.norm, str) else {"metric": "minkowski", "p": self.norm}
        )
        distances: Values = scipy.spatial.distance.cdist(values, self.features, **metric)
        if np.isnan(distances).any():
            raise ValueError("the cosine of an item without length is not defined")
        return distances


_ROWS = 64
"""Items whose distances to all training items are held at a time."""
