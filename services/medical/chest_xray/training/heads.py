"""Linear heads on features that no longer change, and calibration: convex, fitted to the end, the same each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from torch import nn

Features = NDArray[np.float32]

STRENGTHS: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of regularisation that are tried."""
_FOLDS: Final = 5
_TEMPERATURES: Final = (0.25, 20.0)


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """A logit of features.

    Attributes:
        weight: float32 (k,).
        bias: of it.
        strength: that cross-validation by patients chose.
    """

    weight: Features
    bias: float
    strength: float

    def logits(self, features: Features) -> Features:
        """(n, k) to (n,)."""
        found: Features = features @ self.weight + np.float32(self.bias)
        return found

    def store(self, layer: nn.Linear) -> None:
        """Make a layer of one output compute the same."""
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.weight)[None])
            layer.bias.fill_(self.bias)


def fit_head(features: Features, labels: NDArray[np.bool_], groups: NDArray[Any]) -> LinearHead:
    """A logistic regression with the ridge penalty that has the least loss on patients that were left out.

    Args:
        features: float32 (n, k).
        labels: (n,).
        groups: (n,), patients; views of a film share one.

    Raises:
        ValueError: there are not both labels, or fewer than two patients.
    """
    if labels.all() or not labels.any():
        raise ValueError("a head is fitted to films of both labels")
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    scaled = (features - mean) / deviation
    folds = list(GroupKFold(min(_FOLDS, len(np.unique(groups)))).split(scaled, labels, groups))
    losses = [sum(_left_out_loss(scaled, labels, one, strength) for one in folds) for strength in STRENGTHS]
    strength = STRENGTHS[int(np.argmin(losses))]
    fitted = _regress(scaled, labels, strength)
    weight = fitted.coef_[0] / deviation
    bias = float(fitted.intercept_[0] - weight @ mean)
    return LinearHead(weight.astype(np.float32), bias, strength)


def _regress(features: Features, labels: NDArray[np.bool_], strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=2000).fit(features, labels)


def _left_out_loss(
    features: Features, labels: NDArray[np.bool_], fold: tuple[NDArray[Any], NDArray[Any]], strength: float
) -> float:
    train, left_out = fold
    if labels[train].all() or not labels[train].any():
        return 0.0
    logits = _regress(features[train], labels[train], strength).decision_function(features[left_out])
    return float(np.logaddexp(0, np.where(labels[left_out], -logits, logits)).sum())


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """What logits are divided by, so that their soft-max has the least cross-entropy (Guo et al. 2017).

    Args:
        logits: (n, classes); for one logit of yes against no, (n, 2) with zeros first.
        labels: (n,).
    """
    rows = np.arange(len(labels))

    def loss(logarithm: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(logarithm)
        shifted = scaled - scaled.max(axis=1, keepdims=True)
        return float(-(shifted[rows, labels] - np.log(np.exp(shifted).sum(axis=1))).mean())

    limits = tuple(np.log(_TEMPERATURES))
    return float(np.exp(minimize_scalar(loss, bounds=limits, method="bounded").x))


def binary_logits(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """(n,) as (n, 2) for `fit_temperature`."""
    return np.stack((np.zeros_like(logits), logits), axis=1)
