"""The rules' operations as nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.uncertainty.explanation.networks.graph import Size, Weights
from services.uncertainty.explanation.relevance.kernels import mirrored, tap_squares, triangular_blocks, ungrouped
from services.uncertainty.explanation.relevance.operations import Operations

MANY_POSITIONS = 256
"""From so many on, products have the positions as columns; below, as rows, which was measured to be quicker."""

_AXES_AS_INPUT = 18
"""Opset from which the sum of squares takes its axes as an input."""


class GraphOperations(Operations[str]):
    """Adds nodes to a graph; a tensor is its name.

    Weights that the graph already holds are not stored a second time, and mirrored ones are mirrored when a session is
    made; the triangular factors of kernels are new and make the file up to three quarters larger, and the taps
    of each phase of a strided kernel are stored beside it.

    onnxruntime holds what convolutions make in blocks of channels. Sums over channels and products with a map of one
    channel leave that form, and copies with the channels last cost least; so such operations turn their tensors first.

    Args:
        graph: grows.
        opset: of its model.
    """

    def __init__(self, graph: onnx.GraphProto, *, opset: int) -> None:
        self._graph, self._opset = graph, opset
        known = ((item.name, numpy_helper.to_array(item)) for item in graph.initializer)
        self._constants: dict[_Key, str] = {_key(value): name for name, value in known}
        self._turned: dict[str, str] = {}
        self._count = 0

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add one node and return the name of its output."""
        self._count += 1
        name = f"sharing_ratio_{self._count}"
        self._graph.node.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def copy(self, node: onnx.NodeProto, inputs: list[str]) -> str:
        """Add a node that does the same to other inputs, and return the name of its output."""
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        return self.node(node.op_type, *inputs, **attributes)

    def store(self, value: NDArray[np.float32] | NDArray[np.int64]) -> str:
        """Add an initializer, once for equal values."""
        key = _key(value)
        if key not in self._constants:
            name = f"sharing_ratio_constant_{len(self._constants)}"
            self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
            self._constants[key] = name
        return self._constants[key]

    def constant(self, value: Weights) -> str:
        """See `Operations`."""
        return self.store(value)

    def add(self, left: str, right: str) -> str:
        """See `Operations`."""
        return self.node("Add", left, right)

    def multiply(self, left: str, right: str) -> str:
        """See `Operations`."""
        return self.node("Mul", left, right)

    def divide(self, left: str, right: str) -> str:
        """See `Operations`."""
        return self.node("Div", left, right)

    def square_root(self, value: str) -> str:
        """See `Operations`."""
        return self.node("Sqrt", value)

    def rectify(self, value: str) -> str:
        """See `Operations`."""
        return self.node("Relu", value)

    def is_positive(self, value: str) -> str:
        """See `Operations`."""
        return self.node("Cast", self.node("Greater", value, self._number(0)), to=TensorProto.FLOAT)

    def outward(self, value: str, amount: float) -> str:
        """See `Operations`."""
        negative = self.node("Less", value, self._number(0))
        return self.add(value, self.node("Where", negative, self._number(-amount), self._number(amount)))

    def sum_channels(self, value: str) -> str:
        """See `Operations`."""
        return self.node("ReduceSum", value, self.integers(1), keepdims=1)

    def convolve(
        self, value: str, weight: Weights, *, stride: int = 1, padding: Sequence[int] = (0, 0), groups: int = 1
    ) -> str:
        """See `Operations`."""
        pads = (*padding, *padding)[:4]
        kernel = self.store(weight) if groups > 1 else self._kernel(weight)
        return self.node("Conv", value, kernel, strides=[stride, stride], pads=pads, group=groups)

    def _kernel(self, weight: Weights) -> str:
        """A kernel, or the nodes that mirror one that the graph holds already."""
        whole = mirrored(weight)
        if _key(whole) not in self._constants or _key(weight) in self._constants:
            return self.store(weight)
        swapped = self.node("Transpose", self.store(whole), perm=[1, 0, 2, 3])
        first, both = self.integers(-1, -1), self.integers(2, 3)
        end = self.integers(*(-extent - 1 for extent in weight.shape[2:]))
        return self.node("Slice", swapped, first, end, both, first)

    def squared_norm(self, value: str) -> str:
        """See `Operations`."""
        return self._first(self._sum_squares(self._last(value), axis=3, keepdims=1))

    def inner(self, left: str, right: str) -> str:
        """See `Operations`."""
        product = self.multiply(self._last(left), self._last(right))
        return self._first(self.node("ReduceSum", product, self.integers(3), keepdims=1))

    def scale(self, value: str, factor: str) -> str:
        """See `Operations`."""
        return self._first(self.multiply(self._last(value), self._last(factor)))

    def _last(self, value: str) -> str:
        """A tensor with its channels as the last axis."""
        if value not in self._turned:
            self._turned[value] = self.node("Transpose", value, perm=[0, 2, 3, 1])
        return self._turned[value]

    def _first(self, turned: str) -> str:
        """Back again."""
        value = self.node("Transpose", turned, perm=[0, 3, 1, 2])
        self._turned[value] = turned
        return value

    def norms(self, value: str, weight: Weights, *, size: Size, groups: int = 1) -> str:
        """See `Operations`; |W_uv x| = |R_uv x| with the triangular factor of W_uv, whose zeros need no multiplying."""
        if groups > 1 and weight.shape[1] == 1:
            return self.square_root(self.convolve(self.multiply(value, value), tap_squares(weight, groups)))
        weight = ungrouped(weight, groups) if groups > 1 else weight
        inputs, taps = weight.shape[1], weight.shape[2] * weight.shape[3]
        blocks = triangular_blocks(weight)
        if size[0] * size[1] >= MANY_POSITIONS:
            columns = self.node("Reshape", value, self.integers(0, inputs, -1))
            squares = [self._squares_along(columns, block, first) for first, block in blocks]
            return self.node("Reshape", self._root(squares), self.integers(0, taps, *size))
        places = self.node("Reshape", self._last(value), self.integers(-1, inputs))
        squares = [self._squares(places, block, first) for first, block in blocks]
        return self._first(self.node("Reshape", self._root(squares), self.integers(-1, *size, taps)))

    def _root(self, squares: Sequence[str]) -> str:
        return self.square_root(self.node("Sum", *squares) if len(squares) > 1 else squares[0])

    def _squares_along(self, columns: str, block: Weights, first: int) -> str:
        """Squared norm of what some rows of each factor make of the inputs from `first` on, (batch, taps, places)."""
        taps, rows, used = block.shape
        if first:
            columns = self.node("Slice", columns, self.integers(first), self.integers(first + used), self.integers(1))
        flat = self.node("MatMul", self.store(block.reshape(taps * rows, used)), columns)
        product = self.node("Reshape", flat, self.integers(0, taps, rows, -1))
        return self.node("ReduceSum", self.multiply(product, product), self.integers(2), keepdims=0)

    def _squares(self, places: str, block: Weights, first: int) -> str:
        """The same of (places, inputs), (places, taps)."""
        taps, rows, used = block.shape
        if first:
            places = self.node("Slice", places, self.integers(first), self.integers(first + used), self.integers(1))
        flat = self.node("MatMul", places, self.store(block.reshape(taps * rows, used).T))
        return self._sum_squares(self.node("Reshape", flat, self.integers(-1, taps, rows)), axis=2, keepdims=0)

    def _sum_squares(self, value: str, *, axis: int, keepdims: int) -> str:
        if self._opset < _AXES_AS_INPUT:
            return self.node("ReduceSumSquare", value, axes=[axis], keepdims=keepdims)
        return self.node("ReduceSumSquare", value, self.integers(axis), keepdims=keepdims)

    def phase(self, value: str, offset: Size, *, stride: int, size: Size, below: Size, channels: int) -> str:
        """See `Operations`; as a convolution of each channel, which keeps the layout of those around it."""
        if stride == 1:
            return value
        one = np.zeros((channels, 1, stride, stride), np.float32)
        one[:, :, offset[0], offset[1]] = 1
        pads = [0, 0, *(stride * extent - whole for extent, whole in zip(size, below, strict=True))]
        return self.node("Conv", value, self.store(one), group=channels, strides=[stride, stride], pads=pads)

    def interleave(self, values: Sequence[str], offsets: Sequence[Size], *, stride: int, size: Size) -> str:
        """See `Operations`."""
        if stride == 1:
            return values[0]
        together = self.node("Concat", *values, axis=1) if len(values) > 1 else values[0]
        each = np.zeros((len(values), 1, stride, stride), np.float32)
        for index, (row, column) in enumerate(offsets):
            each[index, 0, row, column] = 1
        pads = [0, 0, *(-extent % stride for extent in size)]
        return self.node("ConvTranspose", together, self.store(each), strides=[stride, stride], pads=pads)

    def spread(
        self, value: str, weight: Weights, *, stride: int, padding: Sequence[int], size: Size, groups: int = 1
    ) -> str:
        """See `Operations`."""
        rows, columns = weight.shape[2:]
        above, left, below, right = (*padding, *padding)[:4]
        if stride == 1:
            # The same as a convolution with the mirrored kernel, which is twice as fast.
            around = (rows - 1 - above, columns - 1 - left, rows - 1 - below, columns - 1 - right)
            return self.convolve(value, mirrored(weight, groups), padding=around, groups=groups)
        rest = [
            (extent + pad - kernel) % stride
            for extent, pad, kernel in zip(size, (above + below, left + right), weight.shape[2:], strict=True)
        ]
        attributes = {"pads": [above, left, below, right], "strides": [stride, stride], "output_padding": rest}
        return self.node("ConvTranspose", value, self.store(weight), group=groups, **attributes)

    def regroup(self, value: str, channels: int) -> str:
        """See `Operations`."""
        return self.node("Reshape", value, self.integers(-1, channels, 0, 0))

    def first_maximum(self, value: str, *, channels: int) -> str:
        """See `Operations`."""
        greatest = self.node("ArgMax", value, axis=1, keepdims=1, select_last_index=0)
        each = self.store(np.arange(channels, dtype=np.int64)[None, :, None, None])
        return self.node("Cast", self.node("Equal", greatest, each), to=TensorProto.FLOAT)

    def _number(self, value: float) -> str:
        return self.store(np.full((1, 1, 1, 1), value, np.float32))

    def integers(self, *values: int) -> str:
        """A constant of shape (len(values),), int64."""
        return self.store(np.array(values, np.int64))


_Key = tuple[bytes, tuple[int, ...], str]


def _key(value: NDArray[Any]) -> _Key:
    return value.tobytes(), value.shape, value.dtype.str
