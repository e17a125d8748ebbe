"""Logistic regression on frozen features, with the strength of its penalty chosen within the training patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

INVERSE_PENALTIES: Final = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FOLDS: Final = 5

Features = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """Scores of classes as linear functions of features as they are, the standardisation folded in.

    Attributes:
        weight: float64 (features, classes).
        bias: float64 (classes,).
        inverse_penalty: scikit-learn's C that was chosen.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    inverse_penalty: float

    def __call__(self, features: Features) -> NDArray[np.float64]:
        """Scores (n, classes): log-probabilities but for a constant of each row; of two classes 0 and the logit."""
        return np.asarray(features, np.float64) @ self.weight + self.bias


def fit_head(
    features: Features,
    labels: NDArray[np.int64],
    patients: NDArray[np.int64],
    *,
    inverse_penalties: tuple[float, ...] = INVERSE_PENALTIES,
    balanced: bool = False,
) -> LinearHead:
    """Fit the head; the penalty is the one of least log-loss in a cross-validation by patient.

    Args:
        features: (n, features).
        labels: (n,), 0 to classes - 1, each of them there.
        patients: (n,), which films belong together.
        inverse_penalties: scikit-learn's C to choose from.
        balanced: whether classes count alike, however many films they have.
    """
    chosen = inverse_penalties[0]
    if len(inverse_penalties) > 1:
        losses = [_loss(features, labels, patients, one, balanced=balanced) for one in inverse_penalties]
        chosen = inverse_penalties[int(np.argmin(losses))]
    return _fit(features, labels, chosen, balanced=balanced)


def _loss(
    features: Features, labels: NDArray[np.int64], patients: NDArray[np.int64], inverse: float, *, balanced: bool
) -> float:
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    found = np.zeros((len(labels), int(labels.max()) + 1))
    for train, held_out in folds.split(features, labels, patients):
        scores = _fit(features[train], labels[train], inverse, balanced=balanced)(features[held_out])
        found[held_out] = probabilities(scores)
    weights = 1 / np.bincount(labels)[labels] if balanced else None
    return float(log_loss(labels, found, sample_weight=weights))


def _fit(features: Features, labels: NDArray[np.int64], inverse: float, *, balanced: bool) -> LinearHead:
    values = np.asarray(features, np.float64)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale[scale < 1e-9] = 1  # says nothing; the penalty keeps its weight at 0
    model = LogisticRegression(C=inverse, max_iter=2000, class_weight="balanced" if balanced else None)
    model.fit((values - mean) / scale, labels)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # of two classes scikit-learn has the second alone
        weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.append(0.0, bias)
    folded = weight / scale
    return LinearHead(folded.T, bias - folded @ mean, inverse)


def probabilities(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Soft-max of each row, float64."""
    shifted = np.exp(np.asarray(scores, np.float64) - np.max(scores, axis=1, keepdims=True))
    total: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return total
