"""EfficientNet-Lite0 as first encoder, with published ImageNet weights, since none of DenseNet-201 are at hand."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.medical.chest_xray.training.networks.maps import EncoderMaps
from services.medical.chest_xray.training.networks.options import NetworkOptions
from services.optimisation.efficientnet_lite import HEAD_CHANNELS, STAGES, EfficientNetLite


class LiteEncoder(nn.Module):
    """Stages of Lite0 and the convolution before its classifier; normalisation keeps its published
    statistics, while scales and shifts of what is trained are trained, too.

    The first tap is the last stage (320 channels), the second the rectified convolution after it (1280), of which
    ImageNet's classifier reads the means.

    Args:
        options: how many stages are trained.
        weights: the published state of the whole classifier; random ones without.
    """

    def __init__(self, options: NetworkOptions, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        network = EfficientNetLite()
        if weights is not None:
            network.load_state_dict(dict(weights))
        self.frozen_stages = len(STAGES) - options.trained_stages
        self.stem, _ = network.split(0)
        self.stages, blocks, start = nn.ModuleList(), list(network._blocks), 0
        for stage in STAGES:
            self.stages.append(nn.Sequential(*blocks[start : start + stage.blocks]))
            start += stage.blocks
        self.head, self.head_norm = network._conv_head, network._bn1
        self.coarse_channels, self.feature_channels = STAGES[-1].outputs, HEAD_CHANNELS

    def forward(self, films: Tensor) -> EncoderMaps:
        """Films (n, 1, H, W) in [0, 1], repeated to three channels and normalised as the weights want it."""
        enabled = torch.is_grad_enabled()
        with torch.set_grad_enabled(False):
            found: Tensor = self.stem(films.expand(-1, 3, -1, -1))
        for index, stage in enumerate(self.stages):
            with torch.set_grad_enabled(enabled and index >= self.frozen_stages):
                found = stage(found)
        return EncoderMaps(found, functional.relu6(self.head_norm(self.head(found))))

    def frozen_parts(self) -> list[nn.Module]:
        """Layers that no stage trains."""
        return [self.stem, *list(self.stages)[: self.frozen_stages]]

    def norms(self) -> list[nn.BatchNorm2d]:
        """All normalisation, which keeps its published statistics in training, since batches here are small."""
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
