"""Losses of masks and label sets over a grid of thresholds, for risk control.

A set at lambda holds what has a probability of at least 1 - lambda: larger lambda, larger set. Pixels and labels are
the same to these functions: everything after the first axis is one item.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite


def false_negative_losses(probabilities: object, truth: object, lambdas: object) -> FloatArray:
    """Share of each item's true pixels (or labels) that the set misses; 0 where nothing is true. Falls with lambda.

    Args:
        probabilities: (n, ...), in [0, 1].
        truth: the same shape, boolean.
        lambdas: (L,), ascending, in [0, 1].

    Returns:
        (n, L), in [0, 1].

    Raises:
        ValueError: an argument is not as said above.
    """
    chances, marks, thresholds = _items(probabilities, truth, lambdas)
    losses = np.zeros((len(chances), thresholds.size))
    for row, (item, mark) in enumerate(zip(chances, marks, strict=True)):
        wanted = np.sort(item[mark])
        if wanted.size:
            losses[row] = np.searchsorted(wanted, thresholds, side="left") / wanted.size
    return losses


def false_discovery_losses(probabilities: object, truth: object, lambdas: object) -> FloatArray:
    """Share of each item's set that is not true; 0 for the empty set. Neither rises nor falls with lambda: use LTT.

    Arguments, result and errors as of `false_negative_losses`.
    """
    chances, marks, thresholds = _items(probabilities, truth, lambdas)
    losses = np.zeros((len(chances), thresholds.size))
    for row, (item, mark) in enumerate(zip(chances, marks, strict=True)):
        chosen = item.size - np.searchsorted(np.sort(item), thresholds, side="left")
        right = mark.sum() - np.searchsorted(np.sort(item[mark]), thresholds, side="left")
        losses[row] = (chosen - right) / np.maximum(chosen, 1)
    return losses


def set_shares(probabilities: object, lambdas: object) -> FloatArray:
    """Mean share of pixels (or labels) in the set at each lambda, (L,): the price of a lower risk.

    Args:
        probabilities: (n, ...), in [0, 1], n >= 1.
        lambdas: (L,), ascending, in [0, 1].
    """
    everything = np.zeros(np.asarray(probabilities).shape, dtype=np.bool_)
    chances, _, thresholds = _items(probabilities, everything, lambdas)
    flat = np.sort(chances, axis=None)
    return np.asarray(1 - np.searchsorted(flat, thresholds, side="left") / flat.size, dtype=np.float64)


def _items(probabilities: object, truth: object, lambdas: object) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """Items as rows, their marks, and what a probability must reach at each lambda."""
    chances, marks = np.asarray(probabilities, dtype=np.float64), np.asarray(truth)
    if marks.dtype != np.bool_ or marks.shape != chances.shape or chances.ndim < 2:
        raise ValueError("probabilities must be (n, ...) and truth a boolean array of the same shape")
    rows = require_finite(chances.reshape(len(chances), -1), "probabilities", shape=(None, None))
    grid = require_finite(lambdas, "lambdas")
    for name, values in (("probabilities", rows), ("lambdas", grid)):
        if ((values < 0) | (values > 1)).any():
            raise ValueError(f"{name} must lie in [0, 1]")
    return rows, marks.reshape(rows.shape), 1 - grid
