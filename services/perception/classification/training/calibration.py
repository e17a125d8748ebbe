"""How sure a classifier may sound: temperature scaling, calibration error (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]


def negative_log_likelihood(logits: Logits, labels: Labels, temperature: float = 1.0) -> float:
    """Mean over pictures of -log probability of the true class, in nats."""
    chances = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return float(-chances[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature with the least negative log-likelihood.

    Args:
        logits: (count, classes), of pictures that were not trained on.
        labels: (count,).
    """
    found = minimize_scalar(
        lambda power: negative_log_likelihood(logits, labels, float(np.exp(power))), bounds=(-3, 3), method="bounded"
    )
    return float(np.exp(found.x))


def expected_calibration_error(logits: Logits, labels: Labels, temperature: float = 1.0, *, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over equally wide bins of confidence, weighted by their size."""
    chances = softmax(logits.astype(np.float64) / temperature, axis=1)
    confidence, correct = chances.max(axis=1), chances.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(float(confidence[which == index].sum() - correct[which == index].sum())) for index in range(bins)]
    return sum(gaps) / len(labels)
