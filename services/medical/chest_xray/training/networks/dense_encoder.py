"""DenseNet (Huang et al. 2017, table 1) as first encoder, with both taps that the paper's code reads by hooks.

Names of the modules are torchvision's, so that weights of its DenseNet-201 fit in where someone has them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.medical.chest_xray.training.networks.maps import EncoderMaps
from services.medical.chest_xray.training.networks.options import NetworkOptions

_BOTTLENECK: Final = 4
"""Channels of a layer's first convolution over its growth."""


class DenseLayer(nn.Module):
    """Normalise, rectify, 1x1; normalise, rectify, 3x3; the result is put behind what came in."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, _BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(_BOTTLENECK * growth)
        self.conv2 = nn.Conv2d(_BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, inputs + growth, h, w)."""
        found = self.conv1(functional.relu(self.norm1(features)))
        return torch.cat((features, self.conv2(functional.relu(self.norm2(found)))), dim=1)


class DenseEncoder(nn.Module):
    """The convolutions of a DenseNet up to `norm5`, without the last rectifier.

    Args:
        options: growth, blocks and initial channels.
    """

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        channels = options.initial
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        for index, layers in enumerate(options.blocks, start=1):
            parts[f"denseblock{index}"] = _dense_block(channels, layers, options.growth)
            channels += layers * options.growth
            if index < len(options.blocks):
                self.frozen_channels = channels
                parts[f"transition{index}"] = _transition(channels)
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(parts)
        self.coarse_channels = self.feature_channels = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, films: Tensor) -> EncoderMaps:
        """Films (n, 1, H, W) in [0, 1], repeated to three channels, as the paper's code has it."""
        found, maps = films.expand(-1, 3, -1, -1), []
        for name, module in self.features.named_children():
            found = module(found)
            if name in {"denseblock4", "norm5"}:
                maps.append(found)
        return EncoderMaps(*maps)


def _dense_block(channels: int, layers: int, growth: int) -> nn.Sequential:
    made = [(f"denselayer{index + 1}", DenseLayer(channels + index * growth, growth)) for index in range(layers)]
    return nn.Sequential(OrderedDict(made))


def _transition(channels: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(),
            conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )
