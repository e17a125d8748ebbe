"""Feature pyramid networks (Lin et al. 2017), and backbones that end in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional

from services.perception.detection.optimisation.backbones import BackboneOptions, LiteBody, ResidualBody
from services.perception.detection.optimisation.instances import Maps


class FeaturePyramid(nn.Module):
    """Maps of equally many channels, each of which knows the coarser ones.

    Args:
        widths: channels of the maps that come in, the finest first; each map is half as large as the one before.
        channels: of the maps that go out.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, maps: Maps) -> Maps:
        """Maps of the same sizes."""
        merged = [lateral(features) for lateral, features in zip(self.laterals, maps, strict=True)]
        for index in range(len(merged) - 2, -1, -1):
            merged[index] = merged[index] + functional.interpolate(merged[index + 1], scale_factor=2.0, mode="nearest")
        return tuple(output(features) for output, features in zip(self.outputs, merged, strict=True))


class Backbone(nn.Module):
    """Images to the maps that heads read.

    Args:
        options: what to build.
        weights: the published state of EfficientNet-Lite0, for `lite0`.
    """

    def __init__(self, options: BackboneOptions, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.options = options
        self.body = LiteBody(options, weights) if options.kind == "lite0" else ResidualBody(options)
        self.pyramid = FeaturePyramid(self.body.widths, options.channels)

    def forward(self, images: Tensor) -> Maps:
        """Maps of images.

        Args:
            images: float32 (batch, 3, height, width) in [0, 1], RGB; height and width are multiples of the largest
                stride.

        Returns:
            For each stride (batch, channels, height / stride, width / stride).
        """
        found: Maps = self.pyramid(self.body(images))
        return found
