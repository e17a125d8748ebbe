"""A texture as the output of a U-Net on fixed noise, whose weights are changed: what FPA's release calls diffusion.

Fact sheet, sections 2.2 and 5: no noise schedule, no prior, no sampling; a re-parametrisation of the texture ("deep
image prior") with optional noise that is added in front of the sigmoid.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.security.camouflage.optimisation.patterns.pattern import Pattern

WIDTHS: Final = (8, 16, 32, 64)
"""Channels of the levels; the release has 64, 128, 256, 512 and 1024, a hundred times the work."""
_NOISE: Final = 0.1
"""The scale of the added noise at the beginning, which is learned."""


class GeneratorPattern(Pattern):
    """sigmoid(G(z) + a * eps * sqrt(t)) with z drawn once.

    Normalisation is by the picture at hand, always: with one picture in a batch that is what batch normalisation does
    in training, and the released code's switch to running means on export changes the texture (trap 7).

    Args:
        side: texels, a multiple of 2 ** (levels - 1).
        seed: of z and of the weights at the beginning.
        t: how much noise is added in each step; 0, as in the release, adds none.
        widths: channels of the levels.
    """

    learning_rate: ClassVar[float] = 0.01
    input: Tensor

    def __init__(self, side: int, seed: int, *, t: int = 0, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("input", torch.randn(1, 3, side, side, generator=generator))
        self.t = t
        self.scale = nn.Parameter(torch.tensor(_NOISE), requires_grad=t > 0)
        self.down = nn.ModuleList(_Level(one, two) for one, two in zip((3, *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(_Level(small + large, small) for small, large in pairwise(widths))
        self.last = nn.Conv2d(widths[0], 3, 1)
        _initialise(self, generator)

    def forward(self, noise: torch.Generator | None = None) -> Tensor:
        """The texture, as `Pattern` says; without noise it is that of t = 0."""
        levels: list[Tensor] = []
        value = self.input
        for index, level in enumerate(self.down):
            value = level(functional.max_pool2d(value, 2) if index else value)
            levels.append(value)
        for index in reversed(range(len(self.up))):
            larger = functional.interpolate(value, scale_factor=2.0, mode="bilinear", align_corners=True)
            value = self.up[index](torch.cat((levels[index], larger), dim=1))
        logits: Tensor = self.last(value)[0]
        if noise is not None and self.t > 0:
            logits = logits + self.scale * math.sqrt(self.t) * torch.randn(logits.shape, generator=noise)
        return logits.sigmoid()


class _Level(nn.Sequential):
    """Twice a convolution, normalisation and a rectifier."""

    def __init__(self, channels: int, width: int) -> None:
        layers: list[nn.Module] = []
        for count in (channels, width):
            # A bias would be taken away by the normalisation.
            layers += [nn.Conv2d(count, width, 3, padding=1, bias=False), nn.InstanceNorm2d(width, affine=True)]
            layers.append(nn.ReLU())
        super().__init__(*layers)


@torch.no_grad()
def _initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Weights as torch draws them, but from a generator of their own."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            bound = 1 / math.sqrt(part.weight[0].numel())
            for values in (part.weight, part.bias):
                if values is not None:
                    values.uniform_(-bound, bound, generator=generator)
