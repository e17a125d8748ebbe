"""Uncertainty-aware training (Einbinder et al., "Training uncertainty-aware classifiers", NeurIPS 2022).

For the true probabilities the randomised APS score of the true label is uniform on [0, 1] at every input. A network
that is too sure of itself has larger ones; a second loss pulls their distribution to the uniform one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from services.uncertainty.conformal.training.soft_sorting import soft_sort
from services.uncertainty.conformal.training.torch_scores import aps_scores, of_labels


def uniformity_loss(values: Tensor, sorting_temperature: float = 1e-3) -> Tensor:
    """Mean squared distance of the sorted values (n,) from the mean order statistics i / (n + 1) of the uniform law.

    At 0 for values that are spread evenly; 1/3 for many values that are all 0, as the integral of u^2.
    """
    expected = torch.arange(1, len(values) + 1, dtype=values.dtype) / (len(values) + 1)
    return (soft_sort(values, sorting_temperature) - expected).square().mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyAware:
    """Cross entropy of some items, uniformity of the scores of others.

    The others must never be learned by cross entropy, in no batch: a network that has memorised their labels has small
    scores for them, and uniformity would pull the wrong way.

    Attributes:
        weight: of uniformity, whose mean squares are small numbers.
        sorting_temperature: see `soft_permutation`.
    """

    weight: float = 100.0
    sorting_temperature: float = 1e-3

    def __call__(self, logits: Tensor, labels: Tensor, uniforms: Tensor, reserved: Tensor) -> Tensor:
        """The loss, a number.

        Args:
            logits: (N, K).
            labels: (N,), of 0..K-1.
            uniforms: (N,), numbers of the items, in [0, 1).
            reserved: bool (N,), the items whose scores are to be uniform; some, not all.
        """
        scores = of_labels(aps_scores(logits[reserved], uniforms[reserved]), labels[reserved])
        spread = uniformity_loss(scores, self.sorting_temperature)
        return functional.cross_entropy(logits[~reserved], labels[~reserved]) + self.weight * spread
