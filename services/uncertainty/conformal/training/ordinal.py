"""Classifiers of ordered labels whose sets have no holes (Dey et al., "Conformal prediction sets for ordinal
classification", NeurIPS 2023).

The first output stays, the others are made positive and summed up: a sequence that rises with the label. Minus its
distance from 0 is a logit that rises to one label and falls from there, so every set of the labels above a bound is a
run of neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]


class UnimodalHead(nn.Module):
    """Unimodal logits out of K free outputs.

    Args:
        positive: makes outputs positive (phi of the paper).
        distance: even and rising with the absolute value (minus psi of the paper). The two are separate arguments:
            in TorchCP 1.2.1 the second is read from the first.
    """

    def __init__(self, positive: Activation = functional.softplus, distance: Activation = torch.abs) -> None:
        super().__init__()
        self.positive, self.distance = positive, distance

    def forward(self, outputs: Tensor) -> Tensor:
        """Logits, (N, K), of outputs (N, K)."""
        steps = torch.cat([outputs[:, :1], self.positive(outputs[:, 1:])], dim=1)
        return -self.distance(steps.cumsum(dim=1))
