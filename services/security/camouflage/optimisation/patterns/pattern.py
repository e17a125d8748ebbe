"""What all ways to make a texture have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn


class Pattern(nn.Module):
    """Makes a texture out of parameters that an optimiser changes."""

    learning_rate: ClassVar[float]
    """Adam's, that this pattern is usually optimised with."""

    @abstractmethod
    def forward(self, noise: torch.Generator | None = None) -> Tensor:
        """The pattern everywhere, covered or not.

        Args:
            noise: of what is drawn anew in each step; None leaves that out, as in the texture that is measured.

        Returns:
            float32 (3, side, side), sRGB in [0, 1].
        """

    def penalty(self) -> Tensor:
        """What holds parameters where they mean something; zero for most patterns."""
        return torch.zeros(())

    def optimised(self) -> list[nn.Parameter]:
        """Parameters that an optimiser changes."""
        return [one for one in self.parameters() if one.requires_grad]
