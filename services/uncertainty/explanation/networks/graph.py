"""A convolutional network as the decomposition sees it: sums of branches that end in pre-activations, and a head.

What a position of a feature map holds (its vector over the channels) is compared with the *pre-activation* that it
contributes to. So the unit is not a layer but a junction: every tensor that a ReLU or the next convolution reads, with
all convolutions and shortcuts that are added up in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]
Size = tuple[int, int]
Sides = tuple[int, int, int, int]
"""What is above, left, below and right."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution.

    Attributes:
        weight: shape (outputs, inputs of a group, height, width).
        bias: shape (outputs,); zeros where there is none.
        stride: of both axes.
        padding: zeros added above and below, and left and right; or above, left, below and right.
        groups: parts of the channels that are convolved apart; depthwise where a part is one channel.
    """

    weight: Weights
    bias: Weights
    stride: int = 1
    padding: Size | Sides = (0, 0)
    groups: int = 1

    @property
    def inputs(self) -> int:
        """Channels that it reads."""
        return int(self.weight.shape[1]) * self.groups

    @property
    def sides(self) -> Sides:
        """Zeros above, left, below and right."""
        above, left, below, right = (*self.padding, *self.padding)[:4]
        return above, left, below, right

    def size(self, below: Size) -> Size:
        """Height and width behind it."""
        above, left, under, right = self.sides
        height, width = (
            (extent + pad - kernel) // self.stride + 1
            for extent, pad, kernel in zip(below, (above + under, left + right), self.weight.shape[2:], strict=True)
        )
        return height, width


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Maximum over square windows of non-negative values, so that padding with zeros changes nothing."""

    kernel: int
    stride: int
    padding: int = 0

    def size(self, below: Size) -> Size:
        """Height and width behind it."""
        height, width = ((extent + 2 * self.padding - self.kernel) // self.stride + 1 for extent in below)
        return height, width


@dataclass(frozen=True, slots=True)
class Branch:
    """One summand of a pre-activation.

    Attributes:
        source: name of the tensor that it reads: the input, or the output of another junction.
        convolution: None for a shortcut without one.
        pool: maximum pooling in front of the convolution, which makes one block with it.
    """

    source: str
    convolution: Convolution | None = None
    pool: MaxPool | None = None


@dataclass(frozen=True, slots=True)
class Junction:
    """A pre-activation z and what is added up in it.

    Attributes:
        name: of z.
        output: what later junctions read: z itself, or z after its ReLU.
        branches: the summands.
        ceiling: above which the ReLU answers the ceiling itself, 6 of ReLU6; none where None.
    """

    name: str
    output: str
    branches: tuple[Branch, ...]
    ceiling: float | None = None

    @property
    def rectified(self) -> bool:
        """Whether a ReLU follows, with a ceiling or without."""
        return self.name != self.output


@dataclass(frozen=True, slots=True)
class Head:
    """Global average pooling and a linear layer: logit_c is the mean over positions of weight_c . x + bias_c.

    Attributes:
        source: name of the feature map.
        weight: shape (classes, channels).
        bias: shape (classes,).
        logits: name of the result.
    """

    source: str
    weight: Weights
    bias: Weights
    logits: str


@dataclass(frozen=True, slots=True)
class Network:
    """A network that can be decomposed.

    Attributes:
        input: name of the tensor that the first convolution reads: the picture after its normalisation.
        sizes: height and width of the input and of every junction's output, by name.
        junctions: from the input to the head.
        head: what makes logits of the last feature map.
        flat: names of tensors without height and width, (batch, channels), which are maps of one position.
    """

    input: str
    sizes: dict[str, Size]
    junctions: tuple[Junction, ...]
    head: Head
    flat: frozenset[str] = frozenset()

    def layers(self) -> Sequence[str]:
        """Names of the tensors whose positions have a relevance, from the input up."""
        return [self.input, *(junction.output for junction in self.junctions)]


class UnsupportedNetwork(ValueError):
    """The network holds what no sharing ratio is defined for.

    Attributes:
        parts: each part that is not supported, in words.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        self.parts = tuple(parts)
        super().__init__("no sharing ratio is defined for " + "; ".join(parts))


class UnsupportedNode(Exception):
    """A node has no rule; the message says what it is."""


class UnusableModel(UnsupportedNetwork):
    """What stands in the way is not a part of the network but the model as it is: its card, its size.

    Attributes:
        parts: each reason, a sentence.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        super().__init__(parts)
        self.args = ("; ".join(parts),)
