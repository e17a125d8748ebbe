"""Losses whose networks give intervals: pinball for quantiles (CQR), and R2CCP's for densities on bins.

Shapes are checked. Where targets of the shape (N, 1) are let through, each is compared with every item's prediction,
and the network learns quantiles of all targets together: TorchCP 1.2.1 does so with the shape that it documents.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pinball_loss(predictions: Tensor, targets: Tensor, levels: Tensor) -> Tensor:
    """Mean over items of the summed pinball losses, smallest at the conditional quantiles (Koenker, Bassett 1978).

    max(level (y - q), (level - 1)(y - q)) for each item and level.

    Args:
        predictions: q, (N, Q), a column for each level.
        targets: y, (N,).
        levels: (Q,), in (0, 1).

    Raises:
        ValueError: shapes other than these.
    """
    if predictions.shape != (len(targets), len(levels)) or targets.ndim != 1 or levels.ndim != 1:
        shapes = tuple(predictions.shape), tuple(targets.shape), tuple(levels.shape)
        raise ValueError(f"expected (N, Q), (N,) and (Q,), got {shapes[0]}, {shapes[1]} and {shapes[2]}")
    gaps = targets[:, None] - predictions
    return torch.maximum(levels * gaps, (levels - 1) * gaps).sum(dim=1).mean()


def r2ccp_loss(
    logits: Tensor, targets: Tensor, midpoints: Tensor, *, power: float = 0.5, entropy: float = 0.2
) -> Tensor:
    """Mean expected distance of the target from the bins, less an entropy that keeps densities wide (Guha et al. 2024).

    sum over k of p_k abs(y - m_k)^power - entropy H(p), with p the softmax of the logits.

    Args:
        logits: (N, K).
        targets: y, (N,).
        midpoints: m, (K,), of the bins, in the unit of y.
        power: of the distance, above 0.
        entropy: weight of the entropy, 0 or more.

    Raises:
        ValueError: shapes other than these.
    """
    if logits.shape != (len(targets), len(midpoints)) or targets.ndim != 1 or midpoints.ndim != 1:
        shapes = tuple(logits.shape), tuple(targets.shape), tuple(midpoints.shape)
        raise ValueError(f"expected (N, K), (N,) and (K,), got {shapes[0]}, {shapes[1]} and {shapes[2]}")
    logarithms = torch.log_softmax(logits, dim=1)
    distances = (targets[:, None] - midpoints).abs() ** power
    return (logarithms.exp() * (distances + entropy * logarithms)).sum(dim=1).mean()
