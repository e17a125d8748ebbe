"""The second encoder: residual blocks with squeeze-and-excitation (paper sheet, section 3; Hu et al. 2018)."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from services.medical.chest_xray.training.networks.options import LEVELS

_REDUCTION: Final = 16


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions beside a 3x3 convolution with bias, which nothing follows."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)
        self.second, self.second_norm = nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h, w)."""
        found = functional.relu(self.first_norm(self.first(features)))
        return functional.relu(self.second_norm(self.second(found)) + self.shortcut(features))


class SqueezeExcitation(nn.Module):
    """Scales channels by what their means say; narrow maps keep one hidden unit."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // _REDUCTION)
        self.squeeze, self.excite = nn.Linear(channels, hidden, bias=False), nn.Linear(hidden, channels, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(n, channels, h, w)."""
        means = functional.relu(self.squeeze(features.mean(dim=(2, 3))))
        scale: Tensor = self.excite(means).sigmoid()
        return features * scale[:, :, None, None]


class ResidualEncoder(nn.Module):
    """Levels, each of half the resolution and twice the channels of the one before.

    Args:
        filters: channels of the first.
        levels: how many.
    """

    def __init__(self, filters: int, levels: int = LEVELS) -> None:
        super().__init__()
        self.widths = [filters << level for level in range(levels)]
        self.levels = nn.ModuleList(
            nn.Sequential(ResidualBlock(inputs, outputs), SqueezeExcitation(outputs))
            for inputs, outputs in zip([1, *self.widths], self.widths, strict=False)
        )

    def forward(self, films: Tensor) -> list[Tensor]:
        """Films (n, 1, h, w) to a map of each level, the finest first."""
        found, maps = films, []
        for index, level in enumerate(self.levels):
            found = level(functional.max_pool2d(found, 2) if index else found)
            maps.append(found)
        return maps
