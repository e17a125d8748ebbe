"""ResNet-18 with the stem for small pictures (He et al. 2016, arXiv:1512.03385, section 4.2 for the stem).

Built only of what has a Sharing Ratio Decomposition rule: convolutions, batch normalisation, ReLU, additions, global
average pooling and a linear head. Strided convolutions take the place of the stem's pooling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

CLASSES = 43

WIDTHS: Mapping[str, int] = {"full": 64, "half": 32, "quarter": 16}
"""Channels of the first stage; each of the three stages after it doubles them. 11.2, 2.8 and 0.7 million parameters."""


def _convolution(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, outputs, stride=stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _convolution(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            shortcut = _convolution(inputs, outputs, kernel=1, stride=stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride)."""
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return cast("Tensor", self.relu(residual + self.downsample(x)))


class ResNet18(nn.Module):
    """Classifier of 32x32 pictures.

    Args:
        width: channels of the first stage, see `WIDTHS`.
        classes: how many logits come out.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, width: int = WIDTHS["full"], classes: int = CLASSES) -> None:
        super().__init__()
        # Of the training pictures; inside of the network, so that whoever feeds the exported graph cannot get it wrong.
        self.register_buffer("mean", torch.full((3, 1, 1), 0.33))
        self.register_buffer("deviation", torch.full((3, 1, 1), 0.27))
        self.conv1 = _convolution(3, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.layer4 = _stage(4 * width, 8 * width, stride=2)
        self.fc = nn.Linear(8 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, pictures: Tensor) -> Tensor:
        """Last feature map, (batch, 8 * width, 4, 4), of RGB pictures (batch, 3, 32, 32), float32 in [0, 1]."""
        x = self.relu(self.bn1(self.conv1((pictures - self.mean) / self.deviation)))
        return cast("Tensor", self.layer4(self.layer3(self.layer2(self.layer1(x)))))

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (batch, classes) of RGB pictures (batch, 3, 32, 32), float32 in [0, 1]."""
        return cast("Tensor", self.fc(self.features(pictures).mean(dim=(2, 3))))


def _stage(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, outputs, stride=stride), BasicBlock(outputs, outputs, stride=1))
