"""Mondrian taxonomies: which calibration scores an item with a label is compared with (Vovk et al. 2005, chapter 4).

Exchangeability is used within a cell, so coverage holds within each. A cell may depend on the label, on a group of the
item (anything that is known without the label), or on both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.group_scores import CellIndex
from services.uncertainty.conformal.methods.scores import Inputs, Labels

Groups: TypeAlias = NDArray[np.int64] | NDArray[np.str_]
"""A group of each item, numbers or texts."""


@dataclass(frozen=True, kw_only=True)
class Taxonomy(ABC):
    """A map of items and labels to cells.

    Attributes:
        classes: K, the number of labels.
    """

    name: ClassVar[str]
    classes: int

    @property
    @abstractmethod
    def cells(self) -> int:
        """Number of cells."""

    @abstractmethod
    def of_labels(self, labels: Labels, groups: Groups | None = None) -> CellIndex:
        """The cell of each item (N,) with its label."""

    @abstractmethod
    def of_all(self, count: int, groups: Groups | None = None) -> CellIndex:
        """The cell of N items with all labels: (N, K), (N, 1), (1, K) or (1, 1); -1 where the group is not known."""


@dataclass(frozen=True, kw_only=True)
class Marginal(Taxonomy):
    """One cell for everything: plain split conformal prediction."""

    name: ClassVar[str] = "marginal"

    @property
    def cells(self) -> int:
        """One."""
        return 1

    def of_labels(self, labels: Labels, groups: Groups | None = None) -> CellIndex:
        """Zeros (N,)."""
        return np.zeros(len(labels), np.intp)

    def of_all(self, count: int, groups: Groups | None = None) -> CellIndex:
        """Zero (1, 1)."""
        return np.zeros((1, 1), np.intp)


@dataclass(frozen=True, kw_only=True)
class ByLabel(Taxonomy):
    """A cell of each label: class-conditional coverage. A label without examples is in every set."""

    name: ClassVar[str] = "label"

    @property
    def cells(self) -> int:
        """K."""
        return self.classes

    def of_labels(self, labels: Labels, groups: Groups | None = None) -> CellIndex:
        """The labels (N,)."""
        return np.asarray(labels, np.intp)

    def of_all(self, count: int, groups: Groups | None = None) -> CellIndex:
        """All labels (1, K)."""
        return np.arange(self.classes, dtype=np.intp)[None]


@dataclass(frozen=True, kw_only=True)
class ByGroup(Taxonomy):
    """A cell of each group of items, or of each group and label.

    Attributes:
        known: the groups with calibration items, ascending; others have no cell, hence every label in their sets.
        with_labels: cells are split by label too.
    """

    name: ClassVar[str] = "group"
    known: tuple[int, ...] | tuple[str, ...]
    with_labels: bool = False

    @property
    def cells(self) -> int:
        """Groups, times K if split by label."""
        return len(self.known) * (self.classes if self.with_labels else 1)

    def of_labels(self, labels: Labels, groups: Groups | None = None) -> CellIndex:
        """Cells (N,); -1 for unknown groups.

        Raises:
            ValueError: no groups, or another number of them.
        """
        index = self._index(groups, len(labels))
        if not self.with_labels:
            return index
        return np.where(index < 0, -1, index * self.classes + labels)

    def of_all(self, count: int, groups: Groups | None = None) -> CellIndex:
        """Cells (N, 1), or (N, K) if split by label.

        Raises:
            ValueError: no groups, or another number of them.
        """
        index = self._index(groups, count)[:, None]
        if not self.with_labels:
            return index
        return np.where(index < 0, -1, index * self.classes + np.arange(self.classes))

    def _index(self, groups: Groups | None, count: int) -> CellIndex:
        if groups is None or groups.shape != (count,) or groups.dtype.kind not in "iuU":
            raise ValueError(f"a group of each of the {count} items is needed, a whole number or a text")
        known: Groups = np.array(self.known)
        if known.dtype.kind == "U" or groups.dtype.kind == "U":  # a batch may happen to hold texts or numbers alone
            known, groups = known.astype(np.str_), groups.astype(np.str_)
        order = np.argsort(known, kind="stable")
        place = order[np.minimum(np.searchsorted(known, groups, sorter=order), len(known) - 1)]
        return np.where(known[place] == groups, place, -1)


@dataclass(frozen=True, kw_only=True)
class ByCluster(Taxonomy):
    """A cell of each cluster of labels, and one of everything for the labels that are in none.

    Attributes:
        clusters: of each label its cluster 0..m-1, or m for the null cluster.
        count: m, clusters but for the null one.
    """

    name: ClassVar[str] = "cluster"
    clusters: tuple[int, ...]
    count: int

    @property
    def cells(self) -> int:
        """The clusters and the null cluster, which is the last."""
        return self.count + 1

    def of_labels(self, labels: Labels, groups: Groups | None = None) -> CellIndex:
        """Clusters (N,) of the labels."""
        return np.array(self.clusters, np.intp)[labels]

    def of_all(self, count: int, groups: Groups | None = None) -> CellIndex:
        """Clusters (1, K)."""
        return np.array(self.clusters, np.intp)[None]


def predicted_classes(logits: Inputs) -> NDArray[np.int64]:
    """The best label of each item as its group (N,), the first of equals."""
    best: NDArray[np.int64] = logits.argmax(axis=1).astype(np.int64)
    return best


def mass_ranks(probabilities: Inputs, mass: float = 0.9) -> NDArray[np.int64]:
    """Count the best labels that together hold a mass of probability, (N,): a group of the item by its difficulty.

    Args:
        probabilities: (N, K).
        mass: in (0, 1).
    """
    ordered = -np.sort(-np.asarray(probabilities, np.float64), axis=1)
    short: NDArray[np.int64] = (np.cumsum(ordered, axis=1) < mass).sum(axis=1).astype(np.int64)
    return short + 1


TAXONOMIES: dict[str, type[Taxonomy]] = {one.name: one for one in (Marginal, ByLabel, ByGroup, ByCluster)}
"""Every taxonomy by its name."""
