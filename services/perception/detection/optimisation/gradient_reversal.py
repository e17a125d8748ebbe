"""Gradient reversal (Ganin and Lempitsky 2015, section 3.1): forward the identity, backward the negative gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return -ctx.factor * gradients[0], None


def reverse_gradient(features: Tensor, factor: float = 1.0) -> Tensor:
    """The same features, whose gradient is multiplied by `-factor`.

    What follows learns to tell domains apart, and what comes before to make them alike.
    """
    reversed_features: Tensor = _Reversal.apply(features, factor)  # type: ignore[no-untyped-call]
    return reversed_features


def ramp(progress: float) -> float:
    """Factor of the reversal at a share of the course in [0, 1], from 0 to nearly 1: 2 / (1 + exp(-10 p)) - 1.

    Of Ganin and Lempitsky; the released code of ACIA has none. Without it the first gradients of an untrained
    discriminator reach the detector at full strength.
    """
    return 2 / (1 + math.exp(-10 * min(1.0, max(0.0, progress)))) - 1
