"""Metrics of prediction sets: coverage, size, and unevenness of coverage over classes, sizes and difficulties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.levels import Level, to_level
from services.uncertainty.conformal.methods.scores import Inputs, Labels, Sets, Values

SIZE_STRATA = ((0, 1), (2, 3), (4, 10), (11, 100), (101, None))
"""Set sizes, first to last, that coverage is compared between (Angelopoulos et al. 2021)."""

RANK_STRATA = ((1, 1), (2, 3), (4, 6), (7, 10), (11, 100), (101, None))
"""Ranks of the true label, from 1, that coverage is compared between."""

Strata = tuple[tuple[int, int | None], ...]


def hits(sets: Sets, labels: Labels) -> NDArray[np.bool_]:
    """Whether each set (N, K) holds its label (N,).

    Raises:
        ValueError: shapes that do not fit, or no items.
    """
    if sets.ndim != 2 or labels.shape != sets.shape[:1] or not len(sets):
        raise ValueError(f"sets {sets.shape} and labels {labels.shape} do not fit")
    return np.asarray(sets[np.arange(len(sets)), labels], np.bool_)


def required_coverage(alpha: Level) -> float:
    """1 - alpha, rounded once: 0.3 at 0.7, so that 3 of 10 is not less than it."""
    return float(1 - to_level(alpha))


def coverage(sets: Sets, labels: Labels) -> float:
    """Share of sets that hold their label."""
    return float(hits(sets, labels).mean())


def class_coverage(sets: Sets, labels: Labels) -> Values:
    """Coverage of each class (K,); NaN for classes without items."""
    counts = np.bincount(labels, minlength=sets.shape[1])
    covered = np.bincount(labels, weights=hits(sets, labels), minlength=sets.shape[1])
    shares: Values = np.divide(covered, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return shares


def macro_coverage(sets: Sets, labels: Labels) -> float:
    """Mean coverage over the classes that have items."""
    return float(np.nanmean(class_coverage(sets, labels)))


def coverage_gap(sets: Sets, labels: Labels, alpha: Level) -> float:
    """CovGap: mean distance of class coverage from 1 - alpha over classes with items, in percent (Ding et al. 2023)."""
    return float(100 * np.nanmean(np.abs(class_coverage(sets, labels) - required_coverage(alpha))))


def violated_classes(sets: Sets, labels: Labels, alpha: Level) -> int:
    """VioClasses: how many classes are covered less than 1 - alpha; classes without items are not counted."""
    return int((class_coverage(sets, labels) < required_coverage(alpha)).sum())


def average_size(sets: Sets) -> float:
    """Mean number of labels in a set."""
    return float(sets.sum(axis=1).mean())


def size_histogram(sets: Sets) -> NDArray[np.int64]:
    """Count the sets of 0, 1, ..., K labels, (K + 1,)."""
    return np.bincount(sets.sum(axis=1), minlength=sets.shape[1] + 1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Singletons:
    """Sets of one label.

    Attributes:
        rate: share of sets that have one label.
        right: share of sets that are the true label and nothing else; what TorchCP calls singleton hit ratio.
        accuracy: share of the sets of one label that are right; None where there is no such set.
    """

    rate: float
    right: float
    accuracy: float | None


def singletons(sets: Sets, labels: Labels) -> Singletons:
    """Sets of a single label: their share, and how often the label is the true one."""
    single = sets.sum(axis=1) == 1
    right = single & hits(sets, labels)
    accuracy = float(right.sum() / single.sum()) if single.any() else None
    return Singletons(rate=float(single.mean()), right=float(right.mean()), accuracy=accuracy)


@dataclass(frozen=True, slots=True)
class Stratum:
    """Items whose set size, or rank of the label, lies in a range.

    Attributes:
        first: smallest value of the range.
        last: largest, None for no end.
        count: items in it.
        coverage: their coverage, None if there are none.
        size: their mean set size, None if there are none.
    """

    first: int
    last: int | None
    count: int
    coverage: float | None
    size: float | None


def by_stratum(values: NDArray[np.int64], sets: Sets, labels: Labels, strata: Strata) -> list[Stratum]:
    """Coverage and size of the items in each range of a value (N,)."""
    covered, sizes = hits(sets, labels), sets.sum(axis=1)
    found = []
    for first, last in strata:
        inside = (values >= first) & (values <= (np.inf if last is None else last))
        count = int(inside.sum())
        means = (float(covered[inside].mean()), float(sizes[inside].mean())) if count else (None, None)
        found.append(Stratum(first, last, count, *means))
    return found


def size_stratified_violation(sets: Sets, labels: Labels, alpha: Level, strata: Strata = SIZE_STRATA) -> float:
    """SSCV: the largest distance of coverage from 1 - alpha over strata of set size that have items."""
    return _violation(by_stratum(sets.sum(axis=1), sets, labels, strata), alpha)


def difficulty_violation(
    logits: Inputs, sets: Sets, labels: Labels, alpha: Level, strata: Strata = RANK_STRATA
) -> float:
    """DiffViolation: the same over strata of the true label's rank, from 1, the best of equals."""
    own = logits[np.arange(len(labels)), labels][:, None]
    return _violation(by_stratum((logits > own).sum(axis=1) + 1, sets, labels, strata), alpha)


def _violation(strata: list[Stratum], alpha: Level) -> float:
    return max(abs(required_coverage(alpha) - one.coverage) for one in strata if one.coverage is not None)
