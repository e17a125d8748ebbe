"""Sorted calibration scores by cell: any level can be asked of them later, and p-values are found by bisection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.levels import Level, Threshold, conformal_rank, needed_count

Values = NDArray[np.float64]
CellIndex = NDArray[np.intp]


class Counts(NamedTuple):
    """Numbers of calibration scores of a cell: larger than each test score, equal to it, and in all."""

    larger: NDArray[np.intp]
    equal: NDArray[np.intp]
    total: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Cells:
    """Scores of all cells behind one another, ascending within each.

    Attributes:
        scores: float64 (n,).
        starts: int64 (cells + 1,): scores[starts[c]:starts[c + 1]] are those of cell c.
    """

    scores: Values
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, scores: Values, cells: CellIndex, count: int) -> Cells:
        """Sort scores (n,) into cells (n,) of 0..count-1.

        Raises:
            ValueError: a score is NaN, or an item is in no cell.
        """
        if np.isnan(scores).any():
            raise ValueError("calibration scores hold NaN")
        if len(cells) and not 0 <= cells.min() <= cells.max() < count:
            raise ValueError(f"cells must lie in 0..{count - 1}")
        starts = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=count))]).astype(np.int64)
        ordered = np.sort(scores) if count == 1 else scores[np.lexsort((scores, cells))]
        return cls(np.asarray(ordered, np.float64), starts)

    @classmethod
    def join(cls, parts: Sequence[Values]) -> Cells:
        """One cell of each row of scores; a score may be in several."""
        starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        return cls(np.concatenate([np.sort(part) for part in parts]), starts)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Scores in each cell, (cells,)."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def cell(self, index: int) -> Values:
        """The scores of one cell, ascending."""
        return self.scores[self.starts[index] : self.starts[index + 1]]

    def threshold(self, index: int, alpha: Level) -> Threshold:
        """The threshold of one cell with its rank and the count that a finite one needs."""
        cell = self.cell(index)
        rank = conformal_rank(len(cell), alpha)
        value = float(cell[rank - 1]) if rank <= len(cell) else np.inf
        return Threshold(value=value, count=len(cell), rank=rank, needed=needed_count(alpha))

    def thresholds(self, alpha: Level) -> Values:
        """The threshold of each cell, (cells,): infinite where it has too few scores, zero included."""
        ranks = {int(count): conformal_rank(int(count), alpha) for count in np.unique(self.counts)}
        rank = np.array([ranks[int(count)] for count in self.counts], np.int64)
        place = self.starts[:-1] + rank - 1
        return np.where(
            rank <= self.counts, np.append(self.scores, np.inf)[np.minimum(place, len(self.scores))], np.inf
        )

    def compare(self, scores: Values, cells: CellIndex) -> Counts:
        """Counts of calibration scores against test scores, O(log n) each.

        Args:
            scores: test scores (N, K), no NaN.
            cells: the cell of each, broadcast to (N, K); -1 for none, which counts nothing.
        """
        if len(self) == 1 and (cells == 0).all():
            ordered = self.scores
            above = len(ordered) - np.searchsorted(ordered, scores, side="right")
            from_here = len(ordered) - np.searchsorted(ordered, scores, side="left")
            return Counts(above, from_here - above, np.full(scores.shape, len(ordered)))
        known = np.where(cells < 0, 0, cells)
        ends = self.starts[known + 1]
        above, from_here = (
            ends - np.searchsorted(self._keys, known * self._stride + np.searchsorted(self._unique, scores, side=side))
            for side in ("right", "left")
        )
        inside = np.broadcast_to(cells >= 0, scores.shape)
        total = np.broadcast_to(self.counts[known], scores.shape)
        return Counts(above * inside, (from_here - above) * inside, total * inside)

    @cached_property
    def _unique(self) -> Values:
        return np.unique(self.scores)

    @cached_property
    def _stride(self) -> int:
        return len(self._unique) + 1

    @cached_property
    def _keys(self) -> NDArray[np.int64]:
        """Cell and place among all different scores as one ascending integer: bisects all cells at once."""
        cell = np.repeat(np.arange(len(self)), self.counts)
        return np.asarray(cell * self._stride + np.searchsorted(self._unique, self.scores), np.int64)


def p_values(counts: Counts, uniforms: Values | None = None) -> Values:
    """The share of a cell's items, the test item among them, that conform no better than it: p-values in (0, 1].

    (larger + equal + 1) / (n + 1). Smoothed by a number U of each test item (N,) it is (larger + U (equal + 1)) /
    (n + 1) and exactly uniform under exchangeability (Vovk et al. 2005, chapter 2).
    """
    share: Values | float = 1.0 if uniforms is None else uniforms[:, None]
    return (counts.larger + share * (counts.equal + 1)) / (counts.total + 1)


def credibility(values: Values) -> Values:
    """The largest p-value of each item (N,): small where no label fits."""
    largest: Values = values.max(axis=1)
    return largest


def confidence(values: Values) -> Values:
    """One minus the second largest p-value (N,): the confidence at which the set is down to one label at most."""
    second: Values = np.partition(values, -2, axis=1)[:, -2]
    return 1 - second
