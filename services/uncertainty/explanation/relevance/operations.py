"""The tensor operations that the rules are written in, so that one text of them computes in torch and builds ONNX.

Tensors have the shape (batch, channels, height, width) throughout; none of the operations is autograd.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from services.uncertainty.explanation.networks.graph import Size, Weights

T = TypeVar("T")


class Operations(Protocol[T]):
    """What a backend has to offer; `T` is its tensor."""

    def constant(self, value: Weights) -> T:
        """A tensor of known values."""

    def add(self, left: T, right: T) -> T:
        """Sum, broadcast."""

    def multiply(self, left: T, right: T) -> T:
        """Product, broadcast."""

    def divide(self, left: T, right: T) -> T:
        """Quotient, broadcast."""

    def square_root(self, value: T) -> T:
        """Square root of each element."""

    def rectify(self, value: T) -> T:
        """max(0, value)."""

    def is_positive(self, value: T) -> T:
        """1 where value > 0, else 0."""

    def outward(self, value: T, amount: float) -> T:
        """Each element moved away from zero by `amount`; zero counts as positive."""

    def sum_channels(self, value: T) -> T:
        """Sum over the channels, (batch, 1, height, width)."""

    def squared_norm(self, value: T) -> T:
        """Sum of the squares of the channels, (batch, 1, height, width)."""

    def inner(self, left: T, right: T) -> T:
        """Inner product over the channels of two tensors of one shape, (batch, 1, height, width)."""

    def scale(self, value: T, factor: T) -> T:
        """Each position's vector times its number in `factor`, (batch, 1, height, width)."""

    def convolve(
        self, value: T, weight: Weights, *, stride: int = 1, padding: Sequence[int] = (0, 0), groups: int = 1
    ) -> T:
        """Convolution without bias, weight (outputs, inputs of a group, height, width).

        `padding` is of rows and columns, or of what is above, left, below and right.
        """

    def norms(self, value: T, weight: Weights, *, size: Size, groups: int = 1) -> T:
        """|W_uv x| that each position contributes through each tap of a kernel, (batch, taps, height, width).

        `size` is height and width of `value`.
        """

    def phase(self, value: T, offset: Size, *, stride: int, size: Size, below: Size, channels: int) -> T:
        """Every `stride`-th position from `offset` on, with zeros below and right up to the height and width `size`.

        `below` is height and width of `value`, and `channels` how many it has.
        """

    def interleave(self, values: Sequence[T], offsets: Sequence[Size], *, stride: int, size: Size) -> T:
        """Maps (batch, 1, ...) of phases put together to the height and width `size`; phases not given are zero."""

    def spread(
        self, value: T, weight: Weights, *, stride: int, padding: Sequence[int], size: Size, groups: int = 1
    ) -> T:
        """Transposed convolution, weight (inputs, outputs of a group, height, width), to the height and width `size`.

        `padding` as in `convolve`.
        """

    def regroup(self, value: T, channels: int) -> T:
        """The same numbers with so many channels: what is over, or missing, goes to the batch axis or comes from it."""

    def first_maximum(self, value: T, *, channels: int) -> T:
        """1 at the first of the greatest channels of each position, else 0."""
