"""Calibration by one temperature: what logits are divided by, chosen on validation films."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from services.medical.chest_xray.training.heads.linear_heads import probabilities

LEAST: Final = 0.05
MOST: Final = 20.0


def fit_temperature(scores: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """What scores are divided by for the least log-loss (Guo et al. 2017), 0.05 to 20.

    Args:
        scores: (n, classes), of films that nothing was trained on; of yes against no (n, 2).
        labels: (n,).
    """
    rows = np.arange(len(labels))

    def loss(logarithm: float) -> float:
        chances = probabilities(np.asarray(scores, np.float64) / np.exp(logarithm))
        return float(-np.mean(np.log(np.maximum(chances[rows, labels], 1e-300))))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(LEAST), np.log(MOST)), method="bounded").x))
