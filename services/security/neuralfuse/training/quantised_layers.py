"""Layers whose weights pass through the weight memory's quantisation while they are trained.

Activations, biases and batch normalisation stay in single precision, as in the authors' code.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.security.bit_errors.quantisation import BITS

_MOST = 2 ** (BITS - 1) - 1


class _Reading(torch.autograd.Function):
    """Gives what is read forwards; hands the gradient through backwards (straight-through estimator)."""

    @staticmethod
    def forward(context: Any, weights: Tensor, read: Tensor | None) -> Tensor:
        if read is not None:
            return read.clone()
        scale = (weights.abs().amax() / _MOST).clamp_min(torch.finfo(weights.dtype).tiny)
        return torch.round(weights / scale).clamp_(-_MOST, _MOST).mul_(scale)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def fake_quantise(weights: Tensor, read: Tensor | None = None) -> Tensor:
    """The float values that int8 weights of one scale stand for; the gradient passes unchanged.

    Args:
        weights: of a layer.
        read: what to compute with in their place, if something else was read out of the memory.
    """
    return cast("Tensor", _Reading.apply(weights, read))  # type: ignore[no-untyped-call]


class QuantisedConv2d(nn.Conv2d):
    """A convolution that computes with quantised weights.

    Attributes:
        read: weights that were read out of the memory in their place; None: they were read as written.
    """

    read: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """As of `nn.Conv2d`."""
        convolved: Tensor = self._conv_forward(x, fake_quantise(self.weight, self.read), self.bias)
        return convolved


class QuantisedConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution that computes with quantised weights."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """As of `nn.ConvTranspose2d`; the output's size is what the parameters make it."""
        if output_size is not None:
            raise ValueError("output_size is not supported")
        return functional.conv_transpose2d(
            x, fake_quantise(self.weight), self.bias, self.stride, cast("tuple[int, ...]", self.padding)
        )


class QuantisedLinear(nn.Linear):
    """A linear layer that computes with quantised weights.

    Attributes:
        read: weights that were read out of the memory in their place; None: they were read as written.
    """

    read: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """As of `nn.Linear`."""
        return functional.linear(x, fake_quantise(self.weight, self.read), self.bias)


class ConvolutionUnit(nn.Module):
    """A quantised convolution and the batch normalisation behind it, which `fold` makes one.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel: side of the kernel; padding keeps the size.
        stride: of the convolution.
        bias: whether the convolution has one.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        self.conv = QuantisedConv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=bias)
        self.norm = nn.BatchNorm2d(outputs)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride)."""
        return cast("Tensor", self.norm(self.conv(x)))

    def factors(self) -> tuple[Tensor, Tensor]:
        """What normalisation by running statistics multiplies each channel's weights by, and the bias it leaves."""
        norm = self.norm
        mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        factor = norm.weight / torch.sqrt(variance + norm.eps)
        shift = norm.bias - mean * factor
        return factor, shift if self.conv.bias is None else shift + self.conv.bias * factor
