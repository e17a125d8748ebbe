"""The rules' operations as nodes of an ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.uncertainty.explanation.graph import Size, Weights
from services.uncertainty.explanation.operations import Operations


class GraphOperations(Operations[str]):
    """Adds nodes to a graph; a tensor is its name.

    Weights that the graph already holds are not stored a second time, and rearranged ones are rearranged when a session
    is made: the file grows by kilobytes.

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

    def contributions(self, value: str, weight: Weights) -> str:
        """See `Operations`."""
        outputs, inputs, height, width = weight.shape
        moved = self.node("Transpose", self.store(weight), perm=[2, 3, 0, 1])
        rows = self.node("Reshape", moved, self.integers(height * width * outputs, inputs, 1, 1))
        return self.node("Conv", value, rows)

    def spread(self, value: str, weight: Weights, *, stride: int, padding: Size, size: Size) -> str:
        """See `Operations`."""
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
