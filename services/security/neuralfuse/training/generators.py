"""The six generators of the paper (Tables 4 and 5): G, and F(x) = clip(x + G(x)) around it.

Sides of a picture are multiples of 8. The layers are named so that parameter counts equal those of Table 7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.security.neuralfuse.training.quantised_layers import QuantisedConv2d, QuantisedConvTranspose2d


def _unit(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU: `CB` of the paper's tables."""
    convolution = QuantisedConv2d(inputs, outputs, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _growing(inputs: int, outputs: int) -> nn.Sequential:
    """Transposed 4x4 convolution of stride 2, batch normalisation, ReLU."""
    convolution = QuantisedConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _end(convolution: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(3), nn.Tanh())


def _pool() -> nn.Module:
    return nn.MaxPool2d(2)


def _double_size() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="nearest")


def _large_encoder() -> list[nn.Module]:
    parts: list[nn.Module] = []
    inputs = 3
    for width in (32, 64, 128):
        parts += [_unit(inputs, width), _unit(width, width), _pool()]
        inputs = width
    return parts


def _small_encoder() -> list[nn.Module]:
    return [_unit(3, 32), _pool(), _unit(32, 64), _pool(), _unit(64, 64), _pool()]


def _conv_large() -> nn.Module:
    parts, inputs = _large_encoder(), 128
    for width in (128, 64, 32):
        parts += [_unit(inputs, width), _double_size(), _unit(width, width)]
        inputs = width
    return nn.Sequential(*parts, _end(QuantisedConv2d(32, 3, 3, padding=1)))


def _conv_small() -> nn.Module:
    parts, inputs = _small_encoder(), 64
    for width in (64, 32, 3):
        parts += [_unit(inputs, width), _double_size()]
        inputs = width
    return nn.Sequential(*parts, _end(QuantisedConv2d(3, 3, 3, padding=1)))


def _deconv_large() -> nn.Module:
    parts = [*_large_encoder(), _unit(128, 128)]
    parts += [_growing(128, 64), _unit(64, 64), _growing(64, 32), _unit(32, 32)]
    return nn.Sequential(*parts, _end(QuantisedConvTranspose2d(32, 3, 4, stride=2, padding=1)))


def _deconv_small() -> nn.Module:
    parts = [*_small_encoder(), _growing(64, 64), _growing(64, 32)]
    return nn.Sequential(*parts, _end(QuantisedConvTranspose2d(32, 3, 4, stride=2, padding=1)))


class UNet(nn.Module):
    """UNetL and UNetS: no normalisation and no tanh at the end.

    Each 2x2 transposed convolution has padding 1, as in the paper's table, and so loses a pixel on each side, which is
    filled with zeros again.

    Args:
        width: channels of the first level; 16 for UNetL, 8 for UNetS.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width << level for level in range(4)]
        self.downward = nn.ModuleList(
            _double(inputs, outputs) for inputs, outputs in zip((3, *widths[:-1]), widths, strict=True)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.growing = nn.ModuleList(
            QuantisedConvTranspose2d(inputs, outputs, 2, stride=2, padding=1) for inputs, outputs in pairs
        )
        self.upward = nn.ModuleList(_double(inputs, outputs) for inputs, outputs in pairs)
        self.end = QuantisedConv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 3, height, width) to the same shape."""
        levels: list[Tensor] = []
        for level, double in enumerate(self.downward):
            x = double(x if level == 0 else functional.max_pool2d(x, 2))
            levels.append(x)
        for growing, double, beside in zip(self.growing, self.upward, levels[-2::-1], strict=True):
            grown = functional.pad(growing(x), (1, 1, 1, 1))
            x = double(torch.cat([beside, grown], dim=1))
        return cast("Tensor", self.end(x))


def _double(inputs: int, outputs: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for channels in (inputs, outputs):
        convolution = QuantisedConv2d(channels, outputs, 3, padding=1, bias=False)
        parts += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)


GENERATORS: Mapping[str, Callable[[], nn.Module]] = {
    "ConvL": _conv_large,
    "ConvS": _conv_small,
    "DeConvL": _deconv_large,
    "DeConvS": _deconv_small,
    "UNetL": lambda: UNet(16),
    "UNetS": lambda: UNet(8),
}
"""By the paper's names: what makes one, untrained."""


class ConstantShift(nn.Module):
    """The paper's baseline, universal input perturbation: the same G = tanh(u) for every picture.

    Args:
        side: of a picture.
    """

    def __init__(self, side: int = 32) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, 3, side, side))

    def forward(self, x: Tensor) -> Tensor:
        """G, of the pictures' shape."""
        return torch.tanh(self.shift).expand_as(x)


class Fuse(nn.Module):
    """F(x) = clip(x + G(x)) to [-1, 1] (equation 1).

    Args:
        generator: G.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (batch, 3, height, width) in [-1, 1], and so are those that come out."""
        return torch.clamp(pictures + self.generator(pictures), -1, 1)
