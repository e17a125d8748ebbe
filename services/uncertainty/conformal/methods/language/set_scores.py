"""Confidence scores of a growing set of sampled texts, which never fall as texts are drawn (Quach et al. 2024)."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.arrays import FloatArray

SMALLEST = 1e-8
"""A text of quality 1 is taken for 1 - this, so that logarithms are finite."""


class SetScore(StrEnum):
    """A score of the texts that are kept of the first k drawn."""

    GEOMETRIC = "geometric"
    """-sum of log(1 - q): minus the logarithm of the chance that none is admissible, if they were independent."""
    MARGINAL = "marginal"
    """-log q of the last, -sum of log(1 - q) of those before; the largest so far. Surprise that only the last is."""
    FIRST_K = "first_k"
    """How many are kept."""
    FIRST_K_DRAWN = "first_k_drawn"
    """How many were drawn, kept or not."""
    MAX = "max"
    """The largest quality."""
    SUM = "sum"
    """The sum of the qualities: how many admissible ones are expected."""


def set_scores(qualities: FloatArray, kept: NDArray[np.bool_], score: SetScore) -> FloatArray:
    """The score after each draw, (n, M), never falling along a row.

    Args:
        qualities: (n, M), in [0, 1].
        kept: (n, M), texts that are in the set once they are drawn.
        score: which one. Of sets without texts it is 0, minus infinity for `max` and `marginal`.
    """
    match score:
        case SetScore.FIRST_K_DRAWN:
            return np.cumsum(np.ones_like(qualities), axis=1)
        case SetScore.FIRST_K:
            return np.cumsum(kept, axis=1, dtype=np.float64)
        case SetScore.SUM:
            return np.cumsum(np.where(kept, qualities, 0.0), axis=1)
        case SetScore.MAX:
            return np.maximum.accumulate(np.where(kept, qualities, -np.inf), axis=1)
    doubts = np.where(kept, -np.log(np.maximum(1 - qualities, SMALLEST)), 0.0)
    total: FloatArray = np.cumsum(doubts, axis=1)
    if score is SetScore.GEOMETRIC:
        return total
    surprises = total - doubts - np.log(np.maximum(qualities, SMALLEST))
    return np.maximum.accumulate(np.where(kept, surprises, -np.inf), axis=1)
