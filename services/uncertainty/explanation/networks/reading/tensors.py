"""The tensors between a graph's nodes while it is read: what each is to the decomposition, and how large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from services.uncertainty.explanation.networks.graph import (
    Branch,
    Head,
    Junction,
    MaxPool,
    Sides,
    Size,
    UnsupportedNode,
)
from services.uncertainty.explanation.networks.reading.constants import finite, per_channel


@dataclass(frozen=True, slots=True)
class Feature:
    """A tensor whose positions have a relevance."""

    name: str
    pool: MaxPool | None = None


@dataclass(frozen=True, slots=True)
class Padded:
    """A feature map with zeros around it, which a convolution takes as its own padding."""

    feature: Feature
    sides: Sides


@dataclass(frozen=True, slots=True)
class Total:
    """A pre-activation that may still grow by further branches."""

    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Pooled:
    """The mean over the positions of a feature map."""

    source: str


@dataclass(frozen=True, slots=True)
class Flattened:
    """All values of a feature map in one row: what a linear layer reads is a convolution over the whole map."""

    source: str


@dataclass(frozen=True, slots=True)
class Scores:
    """Logits."""

    head: Head


Meaning = Feature | Padded | Total | Pooled | Flattened | Scores


class Tensors:
    """What is known of the tensors of a graph; grows as its nodes are read.

    Args:
        graph: with inferred shapes.

    Attributes:
        picture: name of the graph's first input.
        constants: by name, with those that are computed while reading.
        meanings: of tensors that depend on the picture, by name.
        junctions: by the name of their output, from the input up.
        shapes: sides of every tensor, None where one is not fixed.
        flat: names of tensors of the shape (batch, channels).
        input: name of the tensor that is decomposed: the picture, as far as its normalisation has been read.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.picture = graph.input[0].name if graph.input else ""
        # Copies, as arrays that share the file's memory cannot be written to, which torch warns of.
        self.constants: dict[str, NDArray[Any]] = {
            item.name: np.array(numpy_helper.to_array(item)) for item in graph.initializer
        }
        self.meanings: dict[str, Meaning] = {}
        self.junctions: dict[str, Junction] = {}
        self.shapes = _shapes(graph)
        self.flat: set[str] = set()
        self.input = ""

    def is_known(self, name: str) -> bool:
        """Whether it depends on the picture, in a way that has been read."""
        return name in self.meanings or name == self.input

    def meaning(self, name: str) -> Meaning:
        """What a tensor is.

        Raises:
            UnsupportedNode: nothing that has been read.
        """
        if name == self.input:
            return Feature(name)
        if name not in self.meanings:
            raise UnsupportedNode("one of its inputs is no feature map of the network")
        return self.meanings[name]

    def feature(self, name: str) -> Feature:
        """The tensor as one whose positions have a relevance; a sum ends here without an activation.

        Raises:
            UnsupportedNode: its positions have none.
        """
        meaning = self.meaning(name)
        if isinstance(meaning, Total):
            self.join(name, name, meaning)
            meaning = self.meanings[name] = Feature(name)
        if isinstance(meaning, Padded):
            raise UnsupportedNode("zeros around something else than what a convolution reads")
        if isinstance(meaning, Flattened):
            raise UnsupportedNode("a feature map is reshaped before global average pooling")
        if not isinstance(meaning, Feature):
            raise UnsupportedNode("it follows the global pooling")
        return meaning

    def join(self, name: str, output: str, total: Total, *, ceiling: float | None = None) -> None:
        """End a sum: `output` is what is read of it, after a rectifier with that ceiling where it has another name."""
        self.junctions[output] = Junction(name, output, total.branches, ceiling)
        if len(self.shapes.get(name, ())) == 2:
            self.flat |= {name, output}

    def size(self, name: str) -> Size | None:
        """Height and width of a tensor, as far as they are fixed; a row of values is a map of one position."""
        shape = self.shapes.get(name, ())
        if name in self.flat:
            return (1, 1)
        if len(shape) != 4 or shape[2] is None or shape[3] is None:
            return None
        return shape[2], shape[3]

    def require_size(self, name: str) -> Size:
        """Height and width.

        Raises:
            UnsupportedNode: they are not fixed.
        """
        size = self.size(name)
        if size is None:
            raise UnsupportedNode("a feature map without a fixed height and width")
        return size

    def require_agreement(self, name: str, size: Size) -> None:
        """Raise UnsupportedNode unless the size of what was read is the one that ONNX infers."""
        known = self.size(name)
        if min(size) < 1 or (known is not None and known != size):
            raise UnsupportedNode(f"its answer is {known} and not {size} by its kernel, strides and padding")

    def channels(self, name: str) -> int:
        """How many channels a feature map has.

        Raises:
            UnsupportedNode: it is not known.
        """
        shape = self.shapes.get(name, ())
        if len(shape) < 2 or shape[1] is None:
            raise UnsupportedNode("a feature map whose number of channels is not known")
        return shape[1]

    def constant(self, name: str) -> NDArray[Any]:
        """A constant by its name.

        Raises:
            UnsupportedNode: it is none.
        """
        if name not in self.constants:
            raise UnsupportedNode("its weights are no constants")
        return self.constants[name]

    def weight(self, name: str) -> NDArray[np.float32]:
        """A constant in single precision.

        Raises:
            UnsupportedNode: it is none, or has values that are no finite numbers.
        """
        return finite(self.constant(name))

    def vector(self, node: onnx.NodeProto, place: int, length: int) -> NDArray[np.float32]:
        """An input of one number for each channel, zeros where it is left out.

        Raises:
            UnsupportedNode: it has another shape.
        """
        if len(node.input) <= place or not node.input[place]:
            return np.zeros(length, np.float32)
        return per_channel(self.weight(node.input[place]), length)


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int | None, ...]]:
    return {
        item.name: tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in described.dim)
        for item in (*graph.input, *graph.output, *graph.value_info)
        if (described := item.type.tensor_type.shape) is not None
    }
