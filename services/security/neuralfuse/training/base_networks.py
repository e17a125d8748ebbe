"""The classifiers that are protected: VGG-11 and ResNet-18 for pictures of 32x32 (paper, section 4.1).

They take pictures in [-1, 1], without mean and deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from services.security.neuralfuse.training.quantised_layers import ConvolutionUnit, QuantisedLinear

CLASSES = 43

_VGG11 = (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool")


class VGG11(nn.Module):
    """Eight 3x3 convolutions with batch normalisation, five poolings and one linear layer (Simonyan, Zisserman 2015).

    Args:
        classes: how many logits come out.
    """

    def __init__(self, *, classes: int = CLASSES) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in _VGG11:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [ConvolutionUnit(channels, width, bias=True), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.head = QuantisedLinear(channels, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (batch, classes) of pictures (batch, 3, 32, 32), float32 in [-1, 1]."""
        return cast("Tensor", self.head(self.features(pictures).mean(dim=(2, 3))))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.first = ConvolutionUnit(inputs, outputs, stride=stride)
        self.second = ConvolutionUnit(outputs, outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut: nn.Module = nn.Identity() if same else ConvolutionUnit(inputs, outputs, kernel=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 with a 3x3 stem and no pooling before the blocks (He et al. 2016, arXiv:1512.03385).

    Args:
        classes: how many logits come out.
        width: channels of the first stage; 64 in the paper.
    """

    def __init__(self, *, classes: int = CLASSES, width: int = 64) -> None:
        super().__init__()
        self.stem = ConvolutionUnit(3, width)
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            outputs = width << stage
            blocks += [_Block(channels, outputs, stride=1 if stage == 0 else 2), _Block(outputs, outputs, stride=1)]
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = QuantisedLinear(channels, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (batch, classes) of pictures (batch, 3, 32, 32), float32 in [-1, 1]."""
        x = self.blocks(torch.relu(self.stem(pictures)))
        return cast("Tensor", self.head(x.mean(dim=(2, 3))))


BASE_NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "vgg11": VGG11,
    "resnet18": ResNet18,
    "resnet18-half": lambda: ResNet18(width=32),
}
"""By name: what makes one, untrained."""
