"""EfficientNet-Lite in torch: what the published weights fit into, and what exported graphs are compared with.

Tan and Le 2019 without squeeze-and-excitation and with ReLU6, as in Google's EfficientNet-Lite of 2020
(tensorflow/tpu, efficientnet_lite_builder.py). Attributes have the names of the weights' keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.nn import functional

SIDE = 224
CLASSES = 1000
EPSILON = 1e-3
"""Of batch normalisation."""

HEAD_CHANNELS = 1280


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one shape; the first has the stride and the new width."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    outputs: int


STEM = 32
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def widen(stages: tuple[Stage, ...], *, width: float, depth: float) -> tuple[Stage, ...]:
    """Stages of a larger network of the family: channels in multiples of 8; first and last stage keep one block.

    Args:
        stages: of Lite0.
        width: factor of channels.
        depth: factor of blocks.
    """
    last = len(stages) - 1
    return tuple(
        replace(
            stage,
            blocks=stage.blocks if index in {0, last} else math.ceil(stage.blocks * depth),
            outputs=_round_channels(stage.outputs * width),
        )
        for index, stage in enumerate(stages)
    )


def _round_channels(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


LITE2 = widen(STAGES, width=1.1, depth=1.2)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis, by which it becomes as long as its length over the stride; the odd one after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConvolution(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, for pictures of any size."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the base class
        """Shape (batch, channels, height, width)."""
        kernel, stride = int(self.kernel_size[0]), int(self.stride[0])
        # Numbers rather than traced shapes: an exported graph then pads in its convolutions, not by operators that cost
        # as much again.
        above, below = same_padding(int(input.shape[-2]), kernel, stride)
        left, right = same_padding(int(input.shape[-1]), kernel, stride)
        if (above, left) == (below, right):
            return functional.conv2d(input, self.weight, self.bias, self.stride, (above, left), 1, self.groups)
        return super().forward(functional.pad(input, (left, right, above, below)))


def _convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> SameConvolution:
    return SameConvolution(inputs, outputs, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON)


class Block(nn.Module):
    """An inverted residual with a linear bottleneck (Sandler et al. 2018)."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = inputs * stage.expansion
        self.expands = stage.expansion != 1
        if self.expands:
            self._expand_conv, self._bn0 = _convolution(inputs, inner), _norm(inner)
        self._depthwise_conv, self._bn1 = _convolution(inner, inner, stage.kernel, stride, inner), _norm(inner)
        self._project_conv, self._bn2 = _convolution(inner, stage.outputs), _norm(stage.outputs)
        self.adds = stride == 1 and inputs == stage.outputs

    def forward(self, features: Tensor) -> Tensor:
        """Shape (batch, channels, height, width)."""
        found = features
        if self.expands:
            found = functional.relu6(self._bn0(self._expand_conv(found)))
        found = functional.relu6(self._bn1(self._depthwise_conv(found)))
        projected: Tensor = self._bn2(self._project_conv(found))
        return projected + features if self.adds else projected


class EfficientNetLite(nn.Module):
    """Pictures in [0, 1], (batch, 3, height, width), to logits (batch, 1000).

    Args:
        stages: `STAGES` for Lite0, `LITE2` for Lite2.
    """

    def __init__(self, stages: tuple[Stage, ...] = STAGES) -> None:
        super().__init__()
        self._stages = stages
        self._conv_stem, self._bn0 = _convolution(3, STEM, 3, 2), _norm(STEM)
        blocks, inputs = [], STEM
        for stage in stages:
            for index in range(stage.blocks):
                blocks.append(Block(inputs, stage, stage.stride if index == 0 else 1))
                inputs = stage.outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = _convolution(inputs, HEAD_CHANNELS), _norm(HEAD_CHANNELS)
        self._fc = nn.Linear(HEAD_CHANNELS, CLASSES)

    def split(self, stage: int) -> tuple[nn.Module, nn.Sequential]:
        """The network without its head in two: from pictures to the features after `stage` stages, and on from there.

        Both share their weights with this network.
        """
        cut = sum(one.blocks for one in self._stages[:stage])
        blocks = list(self._blocks)
        return Stem(self, blocks[:cut]), nn.Sequential(*blocks[cut:])

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        features = functional.relu6(self._bn0(self._conv_stem((pictures * 255 - 127) / 128)))
        for block in self._blocks:
            features = block(features)
        features = functional.relu6(self._bn1(self._conv_head(features)))
        logits: Tensor = self._fc(features.mean(dim=(2, 3)))
        return logits


class Stem(nn.Module):
    """The first layers of a network: pictures in [0, 1], (batch, 3, height, width), to features of its last block."""

    def __init__(self, network: EfficientNetLite, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.convolution, self.norm, self.blocks = network._conv_stem, network._bn0, nn.Sequential(*blocks)

    def forward(self, pictures: Tensor) -> Tensor:
        """Features (batch, channels, height / stride, width / stride)."""
        features = functional.relu6(self.norm(self.convolution((pictures * 255 - 127) / 128)))
        found: Tensor = self.blocks(features)
        return found
