"""DRUNet, the denoising network that stage 2 enhances CT slices with.

The architecture is the grayscale DRUNet of Zhang et al., "Plug-and-Play Image Restoration with Deep
Denoiser Prior" (2021), as released in KAIR: a U-Net whose skips are additions, with residual blocks free
of normalisation and bias. Being free of bias, the network is homogeneous of degree one: scaling the image
and the noise map by the same factor scales the answer by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALES = 3
"""Strided convolutions on the way down."""

DOWNSAMPLING = 2**SCALES
"""Both sides of the input are padded to a multiple of this: three 2x2 strided convolutions."""


@dataclass(frozen=True, slots=True)
class Width:
    """Size of a DRUNet: channels at its four scales and residual blocks at each."""

    channels: tuple[int, int, int, int]
    blocks: int

    @property
    def receptive_field(self) -> int:
        """Pixels in each direction that a pixel of the answer depends on, at most: convolutions reach 1, scales 2."""
        convolutions = 2 * self.blocks
        reach = 1
        for _ in range(SCALES):
            reach = math.ceil((reach + convolutions) / 2)
        reach += convolutions
        for _ in range(SCALES):
            reach = 2 * reach + 1 + convolutions
        return reach + 1


WIDTHS = {
    "full": Width(channels=(64, 128, 256, 512), blocks=4),
    "thin": Width(channels=(32, 64, 128, 256), blocks=2),
    "slim": Width(channels=(16, 32, 64, 128), blocks=2),
}
"""`full` is the published network (32,638,656 parameters); `thin` has 4,252,512; `slim` has 1,063,344."""


class ResidualBlock(nn.Module):
    """``x + Conv3x3(ReLU(Conv3x3(x)))`` without bias, normalisation or scaling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Add the residual; the shape stays."""
        residual: Tensor = self.second(functional.relu(self.first(features)))
        return features + residual


def _blocks(channels: int, count: int) -> list[nn.Module]:
    return [ResidualBlock(channels) for _ in range(count)]


class DRUNet(nn.Module):
    """Grayscale DRUNet: image and noise level map in, clean image out.

    Args:
        width: channels per scale and residual blocks per scale.
    """

    def __init__(self, width: Width = WIDTHS["full"]) -> None:
        super().__init__()
        c1, c2, c3, c4 = width.channels
        self.width = width
        self.head = nn.Conv2d(2, c1, kernel_size=3, padding=1, bias=False)
        self.down1 = self._down(c1, c2)
        self.down2 = self._down(c2, c3)
        self.down3 = self._down(c3, c4)
        self.body = nn.Sequential(*_blocks(c4, width.blocks))
        self.up3 = self._up(c4, c3)
        self.up2 = self._up(c3, c2)
        self.up1 = self._up(c2, c1)
        self.tail = nn.Conv2d(c1, 1, kernel_size=3, padding=1, bias=False)
        self.apply(_initialise)

    def _down(self, channels: int, deeper: int) -> nn.Sequential:
        stride = nn.Conv2d(channels, deeper, kernel_size=2, stride=2, bias=False)
        return nn.Sequential(*_blocks(channels, self.width.blocks), stride)

    def _up(self, channels: int, shallower: int) -> nn.Sequential:
        stride = nn.ConvTranspose2d(channels, shallower, kernel_size=2, stride=2, bias=False)
        return nn.Sequential(stride, *_blocks(shallower, self.width.blocks))

    def forward(self, image: Tensor, noise_level: Tensor) -> Tensor:
        """Denoise a batch.

        Args:
            image: float32, shape (batch, 1, height, width), sides multiples of 8, nominally in [0, 1].
            noise_level: float32, shape (batch,), standard deviation of the noise in units of `image`.

        Returns:
            The clean image, of the shape of `image`.
        """
        level_map = noise_level.view(-1, 1, 1, 1).expand(image.shape)
        x1 = self.head(torch.cat((image, level_map), dim=1))
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x = self.body(x4)
        x = self.up3(x + x4)
        x = self.up2(x + x3)
        x = self.up1(x + x2)
        clean: Tensor = self.tail(x + x1)
        return clean


class AnySize(nn.Module):
    """A denoiser for images of any height and width: pads to multiples of 8 by the edge pixels, then crops.

    Args:
        network: the denoiser to wrap.
    """

    def __init__(self, network: DRUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, noise_level: Tensor) -> Tensor:
        """Denoise a batch of shape (batch, 1, height, width); see `DRUNet.forward`."""
        height, width = image.shape[-2:]
        missing = (0, -width % DOWNSAMPLING, 0, -height % DOWNSAMPLING)
        padded = functional.pad(image, missing, mode="replicate")
        clean: Tensor = self.network(padded, noise_level)
        return clean[..., :height, :width]


def _initialise(module: nn.Module) -> None:
    """Orthogonal weights with gain 0.2, as KAIR's training options set them."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.orthogonal_(module.weight.flatten(1), gain=0.2)
