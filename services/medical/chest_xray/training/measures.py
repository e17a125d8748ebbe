"""Ranking figures with intervals by patient: films of one patient are drawn together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

RESAMPLES: Final = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval; `nan` where it is not defined."""

    value: float
    low: float
    high: float

    def as_list(self) -> list[float | None]:
        """Value, low and high, four places."""
        return [None if np.isnan(one) else round(float(one), 4) for one in (self.value, self.low, self.high)]


def auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, ties counting half; `nan` where there are not both kinds."""
    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - yes * (yes + 1) / 2) / (yes * no))


def auc_by_patient(
    scores: NDArray[np.floating],
    positive: NDArray[np.bool_],
    patients: NDArray[Any],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The area under the ROC curve; patients are drawn again for its interval."""
    random, (names, places) = np.random.default_rng(seed), np.unique(patients, return_inverse=True)
    films = [np.flatnonzero(places == index) for index in range(len(names))]
    drawn = []
    for _ in range(resamples):
        chosen = np.concatenate([films[index] for index in random.integers(len(names), size=len(names))])
        drawn.append(auc(scores[chosen], positive[chosen]))
    defined = np.array([one for one in drawn if not np.isnan(one)])
    low, high = np.percentile(defined, (2.5, 97.5)) if len(defined) else (np.nan, np.nan)
    return Interval(auc(scores, positive), float(low), float(high))
