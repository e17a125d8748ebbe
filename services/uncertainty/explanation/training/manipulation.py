"""Whether a change too small to see can give a picture another explanation (Dombrowski et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from services.uncertainty.explanation.methods import Method
from services.uncertainty.explanation.networks.graph import Network
from services.uncertainty.explanation.relevance.propagation import epsilon_relevance, gradient, positive_relevance
from services.uncertainty.explanation.relevance.rules import backward, class_relevance, contrasted
from services.uncertainty.explanation.training.torch_operations import TorchOperations, forward

BUDGET = 8 / 255
"""Largest change of a pixel."""

STEPS, STEP, KEEP = 60, BUDGET / 10, 0.05
_SHARPNESS = 30.0

ATTACKED = (
    Method.SRD, Method.SRD_CONTRAST, Method.CAM, Method.GRAD_CAM, Method.LRP_EPSILON, Method.LRP_Z_PLUS,
    Method.INPUT_X_GRADIENT,
)  # fmt: skip
"""Integrated gradients are left out for their cost."""


class SoftOperations(TorchOperations):
    """The gradient's 0 or 1 of a ReLU as a steep sigmoid, which has a slope for the attacker to follow."""

    def is_positive(self, value: Tensor) -> Tensor:
        """See `Operations`."""
        return torch.sigmoid(_SHARPNESS * value)


def attack(
    network: Network,
    normalise: Callable[[Tensor], Tensor],
    pictures: Tensor,
    classes: Tensor,
    method: Method,
    *,
    goal: Tensor,
    steps: int = STEPS,
) -> Tensor:
    """Change pictures within the budget until their maps look like others while the logits stay.

    Args:
        network: what is explained.
        normalise: from pictures to the network's input.
        pictures: float32 in [0, 1], (count, 3, height, width).
        classes: whose maps, int64 (count,).
        method: one of `ATTACKED`.
        goal: maps to imitate, (count, rows, columns) of the method's own size.
        steps: how often the slope is followed.

    Returns:
        The changed pictures, in [0, 1].
    """
    with torch.no_grad():
        logits = forward(network, normalise(pictures))[network.head.logits]
    aim, change = _unit(goal), torch.zeros_like(pictures)
    for _ in range(steps):
        change.requires_grad_()
        values = forward(network, normalise(pictures + change))
        distance = (_unit(relevance(network, values, classes, method)) - aim).square().sum(dim=(1, 2))
        moved = (values[network.head.logits] - logits).square().mean(dim=1)
        (slope,) = torch.autograd.grad((distance + KEEP * moved).sum(), change)
        with torch.no_grad():
            change = (change - STEP * slope.sign()).clamp(-BUDGET, BUDGET)
            change = (pictures + change).clamp(0, 1) - pictures
    changed: Tensor = pictures + change
    return changed.detach()


def relevance(network: Network, values: dict[str, Tensor], classes: Tensor, method: Method) -> Tensor:
    """A method's map, (count, rows, columns), differentiable."""
    operations, head = SoftOperations(), network.head
    weight = operations.constant(head.weight)[classes][:, :, None, None]
    if method is Method.LRP_EPSILON:
        return epsilon_relevance(operations, network, values=values, weight=weight).sum(dim=1)
    if method is Method.LRP_Z_PLUS:
        return positive_relevance(operations, network, values=values, weight=weight).sum(dim=1)
    if method is Method.INPUT_X_GRADIENT:
        return (gradient(operations, network, values=values, weight=weight) * values[network.input]).sum(dim=1)
    bias = operations.constant(head.bias)[classes][:, None, None, None]
    size = network.sizes[head.source]
    top = class_relevance(operations, values[head.source], weight, bias, positions=size[0] * size[1])
    if method is Method.CAM:
        return top[:, 0]
    if method is Method.GRAD_CAM:
        without_bias: Tensor = top - bias / (size[0] * size[1])
        return without_bias[:, 0].relu()
    amount = torch.tensor(float(method is Method.SRD_CONTRAST))
    start = contrasted(operations, top, amount, size=size)
    found: Tensor = backward(operations, network, values=values, relevance=start)[network.input]
    return found[:, 0]


def _unit(maps: Tensor) -> Tensor:
    scaled: Tensor = maps / maps.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]
    return scaled
