"""Bodies of detectors: images to maps at several strides.

`LiteBody` is EfficientNet-Lite0 with published ImageNet weights and frozen batch normalisation. `ResidualBody` is a
small residual network with group normalisation for training from scratch: the paper's own setting loads no ImageNet
weights (section 2), and group normalisation has no statistics that small batches and averaged teachers spoil.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.optimisation.efficientnet_lite import STAGES, EfficientNetLite
from services.perception.detection.optimisation.instances import Maps

STRIDES: Final = (2, 4, 8, 16, 32)
_LITE_STAGES: Final = {2: 1, 4: 2, 8: 3, 16: 5, 32: 7}
"""The last stage of Lite0 at each stride, from 1 on."""
_GROUPED: Final = 8
"""Channels of a group in group normalisation."""


@dataclass(frozen=True, slots=True)
class BackboneOptions:
    """What makes a backbone.

    Attributes:
        kind: `lite0` or `residual`.
        strides: of the maps, each twice the one before, of 4, 8, 16 and 32.
        channels: of each map.
        trained_stages: the last stages of Lite0 that are trained, 0 to 7; the others stay as published.
        widths: channels of the residual network at strides 4, 8, 16, 32, multiples of 8.
        blocks: its residual blocks at each of these strides.
    """

    kind: Literal["lite0", "residual"] = "lite0"
    strides: tuple[int, ...] = (8, 16, 32)
    channels: int = 64
    trained_stages: int = 5
    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    blocks: tuple[int, int, int, int] = (1, 2, 2, 1)

    def __post_init__(self) -> None:
        doubled = all(2 * one == other for one, other in zip(self.strides, self.strides[1:], strict=False))
        if not self.strides or self.strides[0] < 4 or self.strides[-1] > STRIDES[-1] or not doubled:
            raise ValueError(f"strides {self.strides}: each is twice the one before, from 4 to 32")
        if not 0 <= self.trained_stages <= len(STAGES):
            raise ValueError(f"trained_stages is {self.trained_stages}, Lite0 has {len(STAGES)} stages")


def normalise(images: Tensor) -> Tensor:
    """Pixels in [0, 1] as the published weights want them, (x - 127) / 128 of bytes; grey becomes about 0."""
    return (images * 255 - 127) / 128


class LiteBody(nn.Module):
    """Stages of EfficientNet-Lite0 up to the largest stride; running statistics and affine parts stay as given.

    Args:
        options: strides and how many stages are trained.
        weights: the published state of the whole classifier; random ones without.
    """

    def __init__(self, options: BackboneOptions, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        network = EfficientNetLite()
        if weights is not None:
            network.load_state_dict(dict(weights))
        self.stem, blocks = network.split(0)
        self.taps = [_LITE_STAGES[stride] - 1 for stride in options.strides]
        self.widths = [STAGES[tap].outputs for tap in self.taps]
        self.stages, start = nn.ModuleList(), 0
        for stage in STAGES[: self.taps[-1] + 1]:
            self.stages.append(blocks[start : start + stage.blocks])
            start += stage.blocks
        self.first_trained = len(STAGES) - options.trained_stages
        self._freeze()

    def _freeze(self) -> None:
        for part in (self.stem, *self.stages[: self.first_trained]):
            part.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> LiteBody:
        """Training mode, in which batch normalisation still uses its statistics: batches of a few images are small."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images: Tensor) -> Maps:
        """Maps of images (batch, 3, height, width) in [0, 1]."""
        taken, enabled = [], torch.is_grad_enabled()
        with torch.set_grad_enabled(False):
            features: Tensor = self.stem(images)
        for index, stage in enumerate(self.stages):
            with torch.set_grad_enabled(enabled and index >= self.first_trained):
                features = stage(features)
            if index in self.taps:
                taken.append(features)
        return tuple(taken)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation (Wu and He 2018) with groups of 8 channels."""
    return nn.GroupNorm(channels // _GROUPED, channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2015), with group normalisation.

    Args:
        inputs: channels.
        outputs: channels.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.first_norm, self.second_norm = group_norm(outputs), group_norm(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), group_norm(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, channels, height, width)."""
        found = functional.relu(self.first_norm(self.first(features)))
        return functional.relu(self.second_norm(self.second(found)) + self.shortcut(features))


class ResidualBody(nn.Module):
    """A stem of stride 4, then residual blocks at strides 4 to 32; all of it is trained.

    Args:
        options: strides, widths and blocks.
    """

    def __init__(self, options: BackboneOptions) -> None:
        super().__init__()
        narrow, inputs = options.widths[0] // 2 // _GROUPED * _GROUPED or _GROUPED, options.widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, narrow, 3, 2, padding=1, bias=False),
            group_norm(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, inputs, 3, 2, padding=1, bias=False),
            group_norm(inputs),
            nn.ReLU(),
        )
        self.taps = [STRIDES.index(stride) - 1 for stride in options.strides]
        self.widths = [options.widths[tap] for tap in self.taps]
        self.stages = nn.ModuleList()
        for index, (width, count) in enumerate(zip(options.widths, options.blocks, strict=True)):
            strides = [1 if index == 0 else 2, *[1] * (count - 1)]
            widths = [inputs, *[width] * count]
            self.stages.append(nn.Sequential(*map(ResidualBlock, widths, widths[1:], strides)))
            inputs = width
        del self.stages[self.taps[-1] + 1 :]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Maps:
        """Maps of images (batch, 3, height, width) in [0, 1]."""
        features, taken = self.stem(normalise(images)), []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index in self.taps:
                taken.append(features)
        return tuple(taken)
