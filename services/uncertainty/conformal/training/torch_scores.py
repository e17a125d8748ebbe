"""Nonconformity scores that gradients pass through; in value those of `scores`, which serve."""

from __future__ import annotations

import torch
from torch import Tensor


def thr_scores(logits: Tensor) -> Tensor:
    """One minus the probability of each label, (N, K)."""
    return 1 - torch.softmax(logits, dim=1)


def log_scores(logits: Tensor) -> Tensor:
    """Minus the logarithm of the probability of each label, (N, K): the same order, gradients that do not vanish."""
    return -torch.log_softmax(logits, dim=1)


def aps_scores(logits: Tensor, uniforms: Tensor | None = None) -> Tensor:
    """Sum of the larger probabilities and (1 - U) of the own one, (N, K) (Romano et al. 2020).

    The order of the labels is held fixed, so the gradient is that of almost every point.

    Args:
        logits: (N, K).
        uniforms: (N,), in [0, 1); zeros where not given, the score that is not randomised.
    """
    probabilities = torch.softmax(logits, dim=1)
    ordered, order = probabilities.sort(dim=1, descending=True)
    numbers = torch.zeros(len(logits), dtype=logits.dtype) if uniforms is None else uniforms
    scores = ordered.cumsum(dim=1) - numbers[:, None] * ordered
    return torch.zeros_like(scores).scatter(1, order, scores)


def of_labels(scores: Tensor, labels: Tensor) -> Tensor:
    """The score of one label of each item, (N,).

    Raises:
        ValueError: labels of another shape; (N, 1) would be spread over all pairs of items.
    """
    if labels.shape != scores.shape[:1]:
        raise ValueError(f"labels must have the shape {tuple(scores.shape[:1])}, got {tuple(labels.shape)}")
    return scores.gather(1, labels[:, None])[:, 0]
