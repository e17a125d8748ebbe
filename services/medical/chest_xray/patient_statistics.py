"""Areas under the curve and means with intervals by patient, and how far probabilities can be trusted.

Films of one patient are no independent evidence, so patients are drawn with replacement, each with all of its films.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.intervals import LEVEL

RESAMPLES: Final = 2000
BINS: Final = 10
"""Of equal width, for the expected calibration error."""

Numbers = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % percentile bootstrap interval over patients; without one where it cannot be computed."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Films that are ranked, and what is known of them.

    Attributes:
        positive: (n,) bool.
        patients: (n,), which films belong together.
        strata: (n,), pairs are compared within one alone, such as the fold whose scores one model gave; all are one
            stratum by default.
    """

    positive: NDArray[np.bool_]
    patients: Numbers
    strata: Numbers | None = None

    def auc(self, scores: Numbers) -> Estimate:
        """Area under the ROC curve: the share of pairs in the right order, ties counting half.

        Args:
            scores: (n,), higher for positives.

        Raises:
            ValueError: there is no pair of a positive and a negative.
        """
        return _estimate(self._areas(scores, np.ones((1, len(self.positive)))), self._areas(scores, self._weights()))

    def difference(self, scores: Numbers, others: Numbers) -> Estimate:
        """Area by some scores less that by others, the same patients being drawn for both; errors as of `auc`."""
        once, drawn = np.ones((1, len(self.positive))), self._weights()
        return _estimate(
            self._areas(scores, once) - self._areas(others, once),
            self._areas(scores, drawn) - self._areas(others, drawn),
        )

    def _weights(self) -> NDArray[np.float64]:
        return patient_weights(self.patients)

    def _areas(self, scores: Numbers, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(resamples,), NaN where one has no pair."""
        strata = np.zeros(len(scores)) if self.strata is None else np.asarray(self.strata)
        right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        for one in np.unique(strata):
            chosen = strata == one
            found = _pairs(np.asarray(scores, np.float64)[chosen], self.positive[chosen], weights[:, chosen])
            right, pairs = right + found[0], pairs + found[1]
        with np.errstate(invalid="ignore"):
            areas: NDArray[np.float64] = np.where(pairs > 0, right / pairs, np.nan)
        return areas


def _pairs(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted pairs in the right order and all of them, each (resamples,)."""
    if not np.isfinite(scores).all():
        raise ValueError("scores are finite")
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    of_positives = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    of_negatives = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(of_negatives, axis=1) - of_negatives / 2
    return (of_positives * below).sum(axis=1), of_positives.sum(axis=1) * of_negatives.sum(axis=1)


def patient_weights(patients: Numbers, *, seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """How often each film counts in each resample, (resamples, n)."""
    names, index = np.unique(patients, return_inverse=True)
    random = np.random.default_rng(seed)
    counts = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    weights: NDArray[np.float64] = counts[:, index].astype(np.float64)
    return weights


def mean_by_patient(values: Numbers, patients: Numbers) -> Estimate:
    """Mean over films.

    Args:
        values: (n,), finite.
        patients: (n,).
    """
    weights, found = patient_weights(patients), np.asarray(values, np.float64)
    return _estimate(np.array([found.mean()]), weights @ found / weights.sum(axis=1))


def mean_difference(values: Numbers, others: Numbers, patients: Numbers) -> Estimate:
    """Mean of paired differences; arguments as of `mean_by_patient`."""
    return mean_by_patient(np.subtract(values, others), patients)


def _estimate(value: NDArray[np.float64], resampled: NDArray[np.float64]) -> Estimate:
    if not np.isfinite(value[0]):
        raise ValueError("an area needs a positive and a negative")
    known = resampled[np.isfinite(resampled)]
    if len(known) < len(resampled) / 2 or np.ptp(known) == 0:
        return Estimate(float(value[0]), None, None)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value[0]), float(low), float(high))


def calibration_error(chances: Numbers, labels: NDArray[np.int64]) -> float:
    """Expected calibration error of the most probable class, 0 to 1 (Guo et al. 2017), bins of equal width.

    Args:
        chances: (n, classes), rows sum to 1.
        labels: (n,).
    """
    values = np.asarray(chances, np.float64)
    confidence, right = values.max(axis=1), values.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(right[bins == one].sum() - confidence[bins == one].sum()) for one in range(BINS)]
    return float(sum(gaps) / len(labels))


def brier_score(chances: Numbers, labels: NDArray[np.int64]) -> float:
    """Mean squared distance of probabilities and the label's unit vector, 0 to 2 (Brier 1950); arguments as above."""
    wanted = np.eye(np.shape(chances)[1])[labels]
    return float(np.mean(np.sum((np.asarray(chances, np.float64) - wanted) ** 2, axis=1)))
