"""A texture whose texels are changed directly."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.security.camouflage.optimisation.patterns.pattern import Pattern

_MARGIN: Final = 0.4 / 255
"""From 0 and 1 at the beginning, where the sigmoid never gets: stored, it is 0 or 255."""
_SPREAD: Final = 0.5
"""Deviation of the logits at the beginning: weak noise around grey."""


class PixelPattern(Pattern):
    """Logits of texels.

    Args:
        side: texels.
        seed: of the noise it begins with.
        initial: float32 (side, side, 3), sRGB in [0, 1], that it begins with in place of noise.
    """

    learning_rate: ClassVar[float] = 0.05

    def __init__(self, side: int, seed: int, initial: NDArray[np.float32] | None = None) -> None:
        super().__init__()
        if initial is None:
            begun = torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed)) * _SPREAD
        else:
            begun = torch.from_numpy(initial).permute(2, 0, 1).logit(eps=_MARGIN).contiguous()
        self.logits = nn.Parameter(begun)

    def forward(self, noise: torch.Generator | None = None) -> Tensor:
        """The texels, as `Pattern` says."""
        return self.logits.sigmoid()
