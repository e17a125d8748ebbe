"""One temperature for all logits: by likelihood (TS, Guo et al. 2017) or for small sets (ConfTS, Xi et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from services.uncertainty.conformal.methods.levels import Level
from services.uncertainty.conformal.training.soft_sorting import soft_quantile
from services.uncertainty.conformal.training.torch_scores import aps_scores, of_labels

STEPS = 100
RATE = 0.1
LOWEST = 0.5
"""Where the descent of ConfTS ends at the latest: the gap vanishes towards 0 whatever the classifier, for there all
scores become the same number, and before that small probabilities fall below what floating point can add up."""


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that logits (N, K) are to be divided by, with the smallest negative log-likelihood (TS)."""
    return _minimise(lambda temperature: functional.cross_entropy(logits / temperature, labels))


def efficiency_gap(
    logits: Tensor, labels: Tensor, alpha: Level, *, uniforms: Tensor | None = None, sorting_temperature: float = 1e-3
) -> Tensor:
    """Mean square of the threshold minus the true label's APS score, a number (Xi et al. 2024, equation 8).

    Args:
        logits: (N, K), N >= 2; the first half gives the threshold, the other one the scores.
        labels: (N,).
        alpha: miscoverage level of the threshold.
        uniforms: (N,), in [0, 1); zeros where not given.
        sorting_temperature: of the quantile.
    """
    scores, half = of_labels(aps_scores(logits, uniforms), labels), len(logits) // 2
    threshold = soft_quantile(scores[:half], alpha, sorting_temperature)
    return (threshold - scores[half:]).square().mean()


def fit_conformal_temperature(
    logits: Tensor, labels: Tensor, alpha: Level, *, uniforms: Tensor | None = None, lowest: float = LOWEST
) -> float:
    """The temperature that descent of the `efficiency_gap` reaches from 1, not below the lowest (ConfTS).

    Smaller sets are promised for APS, and not for every classifier: measure them on items of their own.
    """

    def gap(temperature: Tensor) -> Tensor:
        return efficiency_gap(logits / temperature, labels, alpha, uniforms=uniforms)

    return _minimise(gap, lowest=lowest)


def _minimise(loss: Callable[[Tensor], Tensor], *, lowest: float = 0.0) -> float:
    """Descends over the logarithm of the temperature, which is then positive."""
    logarithm = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([logarithm], lr=RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        torch.autograd.backward(loss(logarithm.exp()))
        optimiser.step()
        if lowest > 0:
            logarithm.data.clamp_(min=math.log(lowest))
    return float(logarithm.detach().exp())
