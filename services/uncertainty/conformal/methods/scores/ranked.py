"""Scores that order the labels by probability: APS, RAPS, SAPS and TopK.

Each is one formula of a label's own probability, the sum of the larger ones, its rank and the largest probability.
Probabilities are rounded to multiples of 2^-52 (an error of at most 1.2e-16), so that every sum of a row is exact in
float64 and equal to the last bit in whatever order it is taken; what a row lacks of 1 goes to its largest. So the sum
of all is exactly 1 for each item: were it 1 up to rounding, rounding would decide which items have all labels. Labels
of equal logits share one rank, the best.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.scores.base import Labels, Score, Sets, Values
from services.uncertainty.conformal.methods.scores.transforms import Transform, exponentials

Ranks = Values | NDArray[np.intp]

_SUM_TOLERANCE = 1.001e-3
"""Rows of probabilities whose sum is this near 1 are scaled to 1; others, parts of a distribution, stay as they are."""
_SUM_LIMIT = 1.001
"""Largest sum of a row of probabilities that is accepted; sums are exact below 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedScore(Score):
    """Base of the scores that sum or count the probabilities of better-ranked labels.

    Attributes:
        transform: softmax for logits, identity for probabilities.
        randomised: subtract a share of the last step, so that coverage is exact; otherwise sets are larger than needed.
    """

    transform: Transform = Transform.SOFTMAX
    randomised: bool = True

    def __post_init__(self) -> None:
        if self.transform not in {Transform.SOFTMAX, Transform.IDENTITY}:
            raise ValueError(f"{self.name} needs probabilities: softmax or identity, not {self.transform}")

    @property
    def is_randomised(self) -> bool:
        """Whether the score needs a random number of each item."""
        return self.randomised

    @abstractmethod
    def _formula(self, own: Values, larger: Values, rank: Ranks, largest: Values, uniforms: Values) -> Values:
        """The score; never falling along the ranks of a row, since sets are found by the last rank that fits."""

    def _all(self, values: Values, uniforms: Values) -> Values:
        order = np.argsort(values, axis=1)[:, ::-1]
        ordered = np.take_along_axis(values, order, axis=1)
        probabilities = np.take_along_axis(self._probabilities(values), order, axis=1)
        probabilities[:, 0] += _remainders(probabilities)
        first = _first_of_equals(ordered)
        larger = np.take_along_axis(np.cumsum(probabilities, axis=1) - probabilities, first, axis=1)
        probabilities = np.take_along_axis(probabilities, first, axis=1)
        scores = self._formula(probabilities, larger, first, probabilities[:, :1], uniforms[:, None])
        out = np.empty_like(values)
        np.put_along_axis(out, order, np.broadcast_to(scores, out.shape), axis=1)
        return out

    def _labelled(self, values: Values, labels: Labels, uniforms: Values) -> Values:
        rows = np.arange(len(values))
        better = values > values[rows, labels][:, None]
        rank: NDArray[np.intp] = np.count_nonzero(better, axis=1)
        probabilities = self._probabilities(values)
        rest = _remainders(probabilities)
        largest = probabilities.max(axis=1) + rest
        own = np.where(rank == 0, largest, probabilities[rows, labels])
        probabilities *= better
        larger = probabilities.sum(axis=1) + np.where(rank == 0, 0.0, rest)
        return self._formula(own, larger, rank, largest, uniforms)

    def _sets(self, values: Values, thresholds: Values, uniforms: Values) -> Sets:
        """One threshold for all labels of an item: sort without indices, find the last rank that fits, compare."""
        if thresholds.shape[1] != 1:
            return self._all(values, uniforms) <= thresholds
        ordered = np.sort(values, axis=1)[:, ::-1]
        probabilities = self._ordered_probabilities(ordered.copy(), values.copy())
        probabilities[:, 0] += _remainders(probabilities)
        larger = np.cumsum(probabilities, axis=1) - probabilities
        ranks = np.arange(values.shape[1])[None]
        scores = self._formula(probabilities, larger, ranks, probabilities[:, :1], uniforms[:, None])
        sizes = np.count_nonzero(scores <= thresholds, axis=1)
        last = ordered[np.arange(len(values)), np.maximum(sizes - 1, 0)]
        return values >= np.where(sizes > 0, last, np.inf)[:, None]

    def _probabilities(self, values: Values) -> Values:
        """Of a block (rows, K), overwritten.

        Raises:
            ValueError: they are said to be probabilities and are negative or sum to more than 1.001.
        """
        if self.transform is Transform.SOFTMAX:
            values /= exponentials(values)
        else:
            values /= _scales(values)
        return _rounded(values)

    def _ordered_probabilities(self, ordered: Values, values: Values) -> Values:
        """The same in order; the sum is taken in the order of the labels, as everywhere else."""
        if self.transform is Transform.IDENTITY:
            ordered /= _scales(values)
            return _rounded(ordered)
        ordered -= ordered[:, :1].copy()
        np.exp(ordered, out=ordered)
        ordered /= exponentials(values)
        return _rounded(ordered)


def _rounded(probabilities: Values) -> Values:
    """To multiples of 2^-52, in place: float64 has just that spacing between 1 and 2."""
    probabilities += 1.0
    probabilities -= 1.0
    return probabilities


def _scales(values: Values) -> Values:
    """What rows of probabilities are divided by, (rows, 1): their sums where they are near 1, else 1.

    Raises:
        ValueError: a value is negative, or a row sums to more than 1.001.
    """
    sums = values.sum(axis=1, keepdims=True)
    if (values < 0).any() or (sums > _SUM_LIMIT).any():
        raise ValueError("probabilities must not be negative nor sum to more than one")
    scales: Values = np.where(np.abs(sums - 1) <= _SUM_TOLERANCE, sums, 1.0)
    return scales


def _remainders(probabilities: Values) -> Values:
    """What rounded rows lack of 1, (rows,), where that is rounding; 0 where rows are parts of a distribution."""
    rest = 1 - probabilities.sum(axis=1)
    remainders: Values = np.where(np.abs(rest) <= probabilities.shape[1] * 2.0**-51, rest, 0.0)
    return remainders


def _first_of_equals(ordered: Values) -> NDArray[np.intp]:
    """For each place of rows in order, the first place with the same value."""
    places = np.arange(ordered.shape[1])
    starts: NDArray[np.intp] = np.where(ordered[:, 1:] != ordered[:, :-1], places[1:], 0)
    first = np.zeros(ordered.shape, np.intp)
    np.maximum.accumulate(starts, axis=1, out=first[:, 1:])
    return first


@dataclass(frozen=True, slots=True, kw_only=True)
class APS(RankedScore):
    """Sum of the larger probabilities and (1 - U) of the own one (Romano et al. 2020)."""

    name: ClassVar[str] = "aps"

    def _formula(self, own: Values, larger: Values, rank: Ranks, largest: Values, uniforms: Values) -> Values:
        return larger + (1 - uniforms) * own


@dataclass(frozen=True, slots=True, kw_only=True)
class RAPS(RankedScore):
    """APS and a penalty for every rank beyond a free number (Angelopoulos et al. 2021, algorithm 2).

    Attributes:
        penalty: lambda >= 0, added for each rank beyond.
        free_ranks: k_reg >= 0, ranks without a penalty. Choose both on data that does not calibrate.
    """

    name: ClassVar[str] = "raps"
    penalty: float = 0.0
    free_ranks: int = 0

    def __post_init__(self) -> None:
        RankedScore.__post_init__(self)
        if not 0 <= self.penalty < np.inf or self.free_ranks < 0:
            raise ValueError("penalty and free ranks must not be negative")

    def _formula(self, own: Values, larger: Values, rank: Ranks, largest: Values, uniforms: Values) -> Values:
        return larger + (1 - uniforms) * own + self.penalty * np.maximum(rank + 1 - self.free_ranks, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SAPS(RankedScore):
    """The largest probability and a weight for every further rank (Huang et al. 2024).

    (1 - U) of the largest probability at rank 0, the largest probability + weight (rank - U) from rank 1: the same for
    one label as for all, randomised or not.

    Attributes:
        weight: lambda > 0 of each rank.
    """

    name: ClassVar[str] = "saps"
    weight: float = 0.2

    def __post_init__(self) -> None:
        RankedScore.__post_init__(self)
        if not 0 < self.weight < np.inf:
            raise ValueError("weight must be positive")

    def _formula(self, own: Values, larger: Values, rank: Ranks, largest: Values, uniforms: Values) -> Values:
        return np.where(rank == 0, (1 - uniforms) * largest, largest + self.weight * (rank - uniforms))


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK(RankedScore):
    """The rank from 1, minus U (Angelopoulos et al. 2021): sets are the k best labels, k almost fixed."""

    name: ClassVar[str] = "topk"

    def _formula(self, own: Values, larger: Values, rank: Ranks, largest: Values, uniforms: Values) -> Values:
        return (rank + 1) - uniforms
