"""The base of all scores: computed in blocks of rows, in float64; an item gets the same score in any batch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.interruption import check_interruption

Inputs = NDArray[np.floating[Any]]
Values = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]
Sets = NDArray[np.bool_]

_BLOCK = 131_072
"""Numbers in a block of rows: 1 MB in float64, so that all passes over a block stay in the second cache of a core,
and long enough that threads do not queue for the interpreter lock (a quarter of it makes two as slow as one)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(ABC):
    """A nonconformity score: how ill a label fits an item, larger is worse.

    `of_all` and `of_labels` agree to the last bit, whatever the batch an item comes in, and never change their input.
    """

    name: ClassVar[str]

    @property
    def is_randomised(self) -> bool:
        """Whether the score needs a random number of each item."""
        return False

    def of_all(self, inputs: Inputs, uniforms: Values | None = None, *, threads: int = 1) -> Values:
        """The scores of all labels.

        Args:
            inputs: logits or probabilities (N, K), or features (N, F) where the score is of neighbours; float, finite.
            uniforms: a number of [0, 1) for each item, (N,); see `randomness.uniforms`. Needed if randomised.
            threads: threads that share the rows.

        Returns:
            float64 (N, K).

        Raises:
            ValueError: wrong shapes, values that are not finite, missing random numbers.
        """
        numbers = self._numbers(inputs, uniforms)
        out = np.empty((len(inputs), self.classes_of(inputs)))

        def work(rows: slice) -> None:
            out[rows] = self._all(block_of(inputs, rows), numbers[rows])

        map_blocks(work, inputs, threads)
        return out

    def of_labels(self, inputs: Inputs, labels: Labels, uniforms: Values | None = None, *, threads: int = 1) -> Values:
        """The scores of one label of each item, (N,) float64; memory beside the inputs is a few blocks.

        Args:
            inputs: as for `of_all`.
            labels: one of 0..K-1 for each item, (N,).
            uniforms: as for `of_all`.
            threads: threads that share the rows.

        Raises:
            ValueError: as `of_all`, or labels that do not fit.
        """
        numbers = self._numbers(inputs, uniforms)
        chosen = check_labels(labels, len(inputs), self.classes_of(inputs))
        out = np.empty(len(inputs))

        def work(rows: slice) -> None:
            out[rows] = self._labelled(block_of(inputs, rows), chosen[rows], numbers[rows])

        map_blocks(work, inputs, threads)
        return out

    def sets(self, inputs: Inputs, thresholds: Values, uniforms: Values | None = None, *, threads: int = 1) -> Sets:
        """Which labels have a score of at most the threshold.

        Args:
            inputs: as for `of_all`.
            thresholds: of every item and label, (N, K) or anything that broadcasts to it; may be infinite.
            uniforms: as for `of_all`.
            threads: threads that share the rows.

        Returns:
            bool (N, K).
        """
        numbers = self._numbers(inputs, uniforms)
        out = np.empty((len(inputs), self.classes_of(inputs)), np.bool_)
        cuts = np.broadcast_to(np.atleast_2d(thresholds), (len(inputs), np.atleast_2d(thresholds).shape[1]))

        def work(rows: slice) -> None:
            out[rows] = self._sets(block_of(inputs, rows), cuts[rows], numbers[rows])

        map_blocks(work, inputs, threads)
        return out

    def classes_of(self, inputs: Inputs) -> int:
        """K, the number of labels."""
        return int(inputs.shape[1])

    def _numbers(self, inputs: Inputs, uniforms: Values | None) -> Values:
        if inputs.ndim != 2 or inputs.dtype.kind != "f" or self.classes_of(inputs) < 2:
            raise ValueError(f"inputs must be float (N, K) with K >= 2, not {inputs.dtype} {inputs.shape}")
        if not self.is_randomised:
            return np.zeros(len(inputs))
        if uniforms is None or uniforms.shape != (len(inputs),):
            raise ValueError(f"{self.name} is randomised and needs a number of each of the {len(inputs)} items")
        return uniforms

    def _sets(self, values: Values, thresholds: Values, uniforms: Values) -> Sets:
        return self._all(values, uniforms) <= thresholds

    @abstractmethod
    def _all(self, values: Values, uniforms: Values) -> Values:
        """Scores (rows, K) of a block; the values are a copy that may be overwritten."""

    @abstractmethod
    def _labelled(self, values: Values, labels: Labels, uniforms: Values) -> Values:
        """Scores (rows,) of one label each; the values are a copy that may be overwritten."""


def check_labels(labels: Labels, count: int, classes: int) -> Labels:
    """The labels.

    Raises:
        ValueError: not (count,) integers of 0..classes-1.
    """
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be {count} integers, not {labels.dtype} {labels.shape}")
    if count and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}")
    return labels.astype(np.intp, copy=False)


def block_of(inputs: Inputs, rows: slice) -> Values:
    """A float64 copy of some rows.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    given = inputs[rows]
    if not np.isfinite(given).all():
        raise ValueError("inputs hold NaN or infinite values")
    return np.array(given, dtype=np.float64, order="C")


def map_blocks(work: Callable[[slice], None], inputs: Inputs, threads: int) -> None:
    """Call the work with slices of rows, in one thread or several; NumPy releases the interpreter lock inside."""
    step = max(1, _BLOCK // inputs.shape[1])
    slices = [slice(start, start + step) for start in range(0, len(inputs), step)]
    if threads == 1 or len(slices) < 2:
        map_in_turn(work, slices)
        return
    share = math.ceil(len(slices) / threads)
    parts = [slices[start : start + share] for start in range(0, len(slices), share)]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda part: map_in_turn(work, part), parts):
            pass


def map_in_turn(work: Callable[[slice], None], slices: list[slice]) -> None:
    """Call the work with each slice."""
    for rows in slices:
        check_interruption()
        work(rows)
