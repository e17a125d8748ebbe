"""A texture whose texels are changed directly."""

from __future__ import annotations

from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from services.security.camouflage.optimisation.patterns.pattern import Pattern

_SPREAD: Final = 0.5
"""Deviation of the logits at the beginning: weak noise around grey."""


class PixelPattern(Pattern):
    """Logits of texels.

    Args:
        side: texels.
        seed: of the noise it begins with.
    """

    learning_rate: ClassVar[float] = 0.05

    def __init__(self, side: int, seed: int) -> None:
        super().__init__()
        drawn = torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed))
        self.logits = nn.Parameter(drawn * _SPREAD)

    def forward(self, noise: torch.Generator | None = None) -> Tensor:
        """The texels, as `Pattern` says."""
        return self.logits.sigmoid()
