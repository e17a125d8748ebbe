"""Writing ONNX graphs node by node, with weights that are stored in half precision and computed with in single."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


class GraphWriter:
    """Gathers the nodes and the weights of a graph.

    Args:
        dtype: that weights are stored in, float16 or float32.

    Attributes:
        nodes: in the order in which they were added.
        weights: and other constants.
    """

    def __init__(self, *, dtype: type[np.floating[Any]] = np.float16) -> None:
        self._dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Add a node with one output of its own name."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def split(self, source: str, sizes: Sequence[int], *, name: str, axis: int = 1) -> list[str]:
        """Add a node that splits a tensor along an axis; the parts are called `<name>.0` and so on."""
        parts = [f"{name}.{index}" for index in range(len(sizes))]
        stated = self.constant(f"{name}.sizes", np.array(sizes, np.int64))
        self.nodes.append(helper.make_node("Split", [source, stated], parts, name=name, axis=axis))
        return parts

    def largest(self, source: str, count: str, *, name: str) -> str:
        """Add a node that finds the places of the largest values of a vector, falling."""
        self.nodes.append(helper.make_node("TopK", [source, count], [f"{name}.values", name], name=name, axis=0))
        return name

    def number(self, name: str, value: float) -> str:
        """Store a number in single precision."""
        return self.constant(name, np.array(value, np.float32))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Store an array as it is."""
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def store(self, name: str, value: NDArray[np.floating[Any]]) -> str:
        """Store weights; what is half as wide is widened by a node that onnxruntime folds away."""
        if self._dtype is np.float32:
            return self.constant(name, value.astype(np.float32))
        half = self.constant(f"{name}_half", value.astype(self._dtype))
        return self.node("Cast", half, name=name, to=TensorProto.FLOAT)
