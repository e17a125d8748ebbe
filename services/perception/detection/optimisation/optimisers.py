"""The optimiser of detectors, in groups with learning rates of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class OptimiserOptions:
    """How weights are changed.

    Attributes:
        kind: `adamw`, or `sgd` with momentum 0.9 as in the paper.
        learning_rate: the highest one.
        body_factor: of the learning rate, for the body of a backbone with published weights.
        weight_decay: of weights; biases and normalisation have none.
        warm_up: steps over which learning rates rise.
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    body_factor: float = 0.3
    weight_decay: float = 1e-4
    warm_up: int = 200


def make_optimiser(
    modules: dict[str, nn.Module], options: OptimiserOptions, *, slow: str | None = None
) -> torch.optim.Optimizer:
    """An optimiser of all that is trained, whose groups know their highest learning rate as `highest`.

    Args:
        modules: by name.
        options: how.
        slow: beginning of names, such as `detector.backbone.body.`, of parameters whose rate has `body_factor`.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for prefix, module in modules.items():
        for name, parameter in module.named_parameters(prefix):
            if parameter.requires_grad:
                factor = options.body_factor if slow and name.startswith(slow) else 1.0
                decay = options.weight_decay if parameter.ndim > 1 else 0.0
                groups.setdefault((options.learning_rate * factor, decay), []).append(parameter)
    described = [
        {"params": parameters, "highest": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()
    ]
    if options.kind == "sgd":
        return torch.optim.SGD(described, lr=options.learning_rate, momentum=0.9)
    return torch.optim.AdamW(described, lr=options.learning_rate)


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Give each group `factor` times its highest learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = group["highest"] * factor


def rate_factor(step: int, *, warm_up: int, total: int | None) -> float:
    """Factor of learning rates at a step: up over `warm_up`, then a cosine down to zero at `total`, or constant."""
    if step < warm_up:
        return (step + 1) / warm_up
    if total is None:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))
