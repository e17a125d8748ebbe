"""The rules' operations as nodes of an ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.uncertainty.explanation.graph import Convolution, Size, Weights
from services.uncertainty.explanation.operations import Operations
from services.uncertainty.explanation.rules import one_hot, triangular_blocks


class GraphOperations(Operations[str]):
    """Adds nodes to a graph; a tensor is its name.

    Weights that the graph already holds are not stored a second time, and mirrored ones are mirrored when a session is
    made; the triangular factors of kernels are new and make the file up to three quarters larger.

    Args:
        graph: grows.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        known = ((item.name, numpy_helper.to_array(item)) for item in graph.initializer)
        self._constants: dict[_Key, str] = {_key(value): name for name, value in known}
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

    def convolve(self, value: str, weight: Weights, *, stride: int = 1, padding: Size = (0, 0)) -> str:
        """See `Operations`."""
        return self.node("Conv", value, self.store(weight), strides=[stride, stride], pads=[*padding, *padding])

    def contribution_norms(self, value: str, convolution: Convolution, *, size: Size) -> str:
        """See `Operations`; |W_uv x| = |R_uv x| with the triangular factor of W_uv, whose zeros need no multiplying."""
        _, inputs, height, width = convolution.weight.shape
        taps, behind, dense = height * width, convolution.size(size), convolution.stride == 1
        if dense:
            columns = self.node("Reshape", value, self.integers(0, inputs, -1))
        else:
            # What no tap of the stride meets need not be computed: that is three quarters.
            seen = [self._seen(value, convolution, tap, behind) for tap in np.ndindex(height, width)]
            together = self.node("Concat", *seen, axis=1) if taps > 1 else seen[0]
            columns = self.node("Reshape", together, self.integers(0, taps, inputs, -1))
        squares = [
            self._squares(columns, block, first, inputs=inputs, axis=1 if dense else 2)
            for first, block in triangular_blocks(convolution.weight)
        ]
        norms = self.square_root(self.node("Sum", *squares) if len(squares) > 1 else squares[0])
        if not dense:
            return self.node("Reshape", norms, self.integers(0, taps, *behind))
        there = self.node("Reshape", norms, self.integers(0, taps, *size))
        each = self.store(np.ascontiguousarray(one_hot(height, width).transpose(1, 0, 2, 3)))
        return self.node("Conv", there, each, group=taps, pads=[*convolution.padding, *convolution.padding])

    def _squares(self, columns: str, block: Weights, first: int, *, inputs: int, axis: int) -> str:
        """Squared norm of what some rows of each factor make of the inputs from `first` on, (batch, taps, places)."""
        taps, rows, used = block.shape
        if first:
            along = self.integers(axis)
            columns = self.node("Slice", columns, self.integers(first), self.integers(inputs), along)
        if axis == 1:
            flat = self.node("MatMul", self.store(block.reshape(taps * rows, used)), columns)
            product = self.node("Reshape", flat, self.integers(0, taps, rows, -1))
        else:
            product = self.node("MatMul", self.store(block), columns)
        return self.node("ReduceSum", self.multiply(product, product), self.integers(2), keepdims=0)

    def _seen(self, value: str, convolution: Convolution, tap: tuple[int, ...], behind: Size) -> str:
        """What one tap reads for each place of the output: (batch, inputs, rows, columns)."""
        (above, left), step = convolution.padding, convolution.stride
        padded = value
        if above or left:
            padded = self.node("Pad", value, self.integers(0, 0, above, left, 0, 0, above, left))
        ends = [first + step * (extent - 1) + 1 for first, extent in zip(tap, behind, strict=True)]
        return self.node(
            "Slice", padded, self.integers(*tap), self.integers(*ends), self.integers(2, 3), self.integers(step, step)
        )

    def spread(self, value: str, weight: Weights, *, stride: int, padding: Size, size: Size) -> str:
        """See `Operations`."""
        rows, columns = weight.shape[2:]
        if stride == 1:
            # The same as a convolution with the mirrored kernel, which is twice as fast.
            swapped = self.node("Transpose", self.store(weight), perm=[1, 0, 2, 3])
            both, end = self.integers(2, 3), self.integers(-rows - 1, -columns - 1)
            mirrored = self.node("Slice", swapped, self.integers(-1, -1), end, both, self.integers(-1, -1))
            pads = [rows - 1 - padding[0], columns - 1 - padding[1]]
            return self.node("Conv", value, mirrored, pads=[*pads, *pads])
        rest = [
            (extent + 2 * pad - kernel) % stride
            for extent, pad, kernel in zip(size, padding, weight.shape[2:], strict=True)
        ]
        pads, strides = [*padding, *padding], [stride, stride]
        return self.node("ConvTranspose", value, self.store(weight), strides=strides, pads=pads, output_padding=rest)

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
