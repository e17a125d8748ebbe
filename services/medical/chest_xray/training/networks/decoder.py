"""From the coarse map of the first encoder and the maps of the second one to attention (paper sheet, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def convolve(inputs: int, outputs: int) -> nn.Sequential:
    """A 3x3 convolution, normalised and rectified."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class DecoderStep(nn.Module):
    """Doubles a map by its nearest values, puts the second encoder's map before it, and convolves twice.

    Args:
        inputs: channels of the coarser map.
        skip: channels of the second encoder's map.
        outputs: channels of the result, and of the doubled map.
    """

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.up = convolve(inputs, outputs)
        self.convolutions = nn.Sequential(convolve(skip + outputs, outputs), convolve(outputs, outputs))

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """(n, inputs, h, w) and (n, skip, 2h, 2w) to (n, outputs, 2h, 2w)."""
        doubled = self.up(functional.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        found: Tensor = self.convolutions(torch.cat((skip, doubled), dim=1))
        return found


class Decoder(nn.Module):
    """One step for each level of the second encoder, the deepest first.

    Args:
        coarse: channels of the map that it starts from.
        widths: channels of the second encoder's levels, the finest first.
    """

    def __init__(self, coarse: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.steps, inputs = nn.ModuleList(), coarse
        for width in reversed(widths):
            outputs = max(widths[0], width // 2)
            self.steps.append(DecoderStep(inputs, width, outputs))
            inputs = outputs

    def forward(self, coarse: Tensor, skips: Sequence[Tensor]) -> list[Tensor]:
        """The maps of all steps, the finest last, of the size of the finest skip."""
        found, maps = coarse, []
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            found = step(found, skip)
            maps.append(found)
        return maps


def attention_head(channels: int) -> nn.Sequential:
    """From the finest map to a logit for each pixel; attention is their soft-max over all pixels."""
    return nn.Sequential(convolve(channels, channels), nn.Conv2d(channels, 1, 1))
