"""From an ONNX file to a `Network`, or the list of what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, shape_inference

from services.uncertainty.explanation.graph import (
    Branch,
    Convolution,
    Head,
    Junction,
    MaxPool,
    Network,
    Size,
    UnsupportedNetwork,
)


@dataclass(frozen=True, slots=True)
class _Feature:
    """A tensor whose positions have a relevance."""

    name: str
    pool: MaxPool | None = None


@dataclass(frozen=True, slots=True)
class _Sum:
    """A pre-activation that may still grow by further branches."""

    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class _Pooled:
    """The mean over the positions of a feature map."""

    source: str


@dataclass(frozen=True, slots=True)
class _Scores:
    """Logits."""

    head: Head


_Meaning = _Feature | _Sum | _Pooled | _Scores


class _Unsupported(Exception):
    """This node has no rule; the message says what it is."""


def read_network(model: onnx.ModelProto) -> Network:
    """What the decomposition sees of a classifier.

    Args:
        model: one input (batch, channels, height, width) of fixed height and width, one output (batch, classes),
            normalisation by constants, convolutions, batch normalisation, ReLU, maximum pooling in front of a
            convolution, additions, global average pooling and a linear layer.

    Raises:
        UnsupportedNetwork: names every node that is something else.
    """
    return _Reader(shape_inference.infer_shapes(model).graph).read()


class _Reader:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        # Copies, as arrays that share the file's memory cannot be written to, which torch warns of.
        self.constants: dict[str, NDArray[Any]] = {
            item.name: np.array(numpy_helper.to_array(item)) for item in graph.initializer
        }
        self.meanings: dict[str, _Meaning] = {}
        self.junctions: dict[str, Junction] = {}
        self.sizes = _sizes(graph)
        self.input = ""
        self.readers: Mapping[str, Any] = {
            "Add": self._add,
            "BatchNormalization": self._batch_normalization,
            "Conv": self._convolution,
            "Dropout": self._pass_on,
            "Flatten": self._pass_on,
            "Gemm": self._linear,
            "GlobalAveragePool": self._average,
            "Identity": self._pass_on,
            "MatMul": self._linear,
            "MaxPool": self._max_pool,
            "ReduceMean": self._average,
            "Relu": self._rectify,
            "Reshape": self._pass_on,
            "Squeeze": self._pass_on,
        }

    def read(self) -> Network:
        inputs = [item.name for item in self.graph.input if item.name not in self.constants]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise UnsupportedNetwork(["a network that has not one input and one output"])
        self.input = inputs[0]
        faults = [fault for node in self.graph.node if (fault := self._node(node))]
        if faults:
            raise UnsupportedNetwork(faults)
        result = self.meanings.get(self.graph.output[0].name)
        if not isinstance(result, _Scores):
            raise UnsupportedNetwork(["a network that does not end in global average pooling and a linear layer"])
        if missing := [name for name in (self.input, *self._outputs()) if name not in self.sizes]:
            raise UnsupportedNetwork([f"feature maps without a fixed height and width ({', '.join(missing)})"])
        head = replace(result.head, logits=self.graph.output[0].name)
        return Network(self.input, self.sizes, tuple(self.junctions.values()), head)

    def _outputs(self) -> list[str]:
        return [junction.output for junction in self.junctions.values()]

    def _node(self, node: onnx.NodeProto) -> str | None:
        """Take one node in; what is wrong with it, if anything is."""
        if node.op_type == "Constant":
            self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            return None
        if self._normalises(node):
            self.input = node.output[0]
            return None
        if not any(self._known(name) for name in node.input):
            return None  # what comes of a node that was refused, or the shape of something
        reader = self.readers.get(node.op_type)
        try:
            if reader is None:
                raise _Unsupported("an operation without a rule")
            reader(node)
        except _Unsupported as fault:
            return f"{node.op_type} {node.name or node.output[0]}: {fault}"
        return None

    def _normalises(self, node: onnx.NodeProto) -> bool:
        """Whether it is a step of the normalisation, which is before the first vector that is decomposed."""
        if self.meanings or self.input not in node.input:
            return False
        elementwise = node.op_type in {"Add", "Sub", "Mul", "Div", "Cast", "Identity"}
        return elementwise and all(name in self.constants or name == self.input for name in node.input)

    def _known(self, name: str) -> bool:
        return name in self.meanings or name == self.input

    def _meaning(self, name: str) -> _Meaning:
        if name == self.input:
            return _Feature(name)
        if name not in self.meanings:
            raise _Unsupported("one of its inputs is no feature map of the network")
        return self.meanings[name]

    def _feature(self, name: str) -> _Feature:
        """The tensor as one whose positions have a relevance; a sum ends here without a ReLU."""
        meaning = self._meaning(name)
        if isinstance(meaning, _Sum):
            self.junctions[name] = Junction(name, name, meaning.branches)
            meaning = self.meanings[name] = _Feature(name)
        if not isinstance(meaning, _Feature):
            raise _Unsupported("it follows the global pooling")
        return meaning

    def _convolution(self, node: onnx.NodeProto) -> None:
        settings = _attributes(node)
        pads = settings.get("pads", [0, 0, 0, 0])
        strides = settings.get("strides", [1, 1])
        if settings.get("group", 1) != 1:
            raise _Unsupported("grouped convolution")
        if settings.get("auto_pad", b"NOTSET") != b"NOTSET" or pads[:2] != pads[2:] or len(set(strides)) != 1:
            raise _Unsupported("padding or strides that differ between sides")
        if any(step != 1 for step in settings.get("dilations", [1])):
            raise _Unsupported("dilated convolution")
        weight = self._constant(node.input[1])
        bias = self._constant(node.input[2]) if len(node.input) > 2 else np.zeros(len(weight), np.float32)
        source = self._feature(node.input[0])
        convolution = Convolution(weight, bias, stride=strides[0], padding=(pads[0], pads[1]))
        self.meanings[node.output[0]] = _Sum((Branch(source.name, convolution, source.pool),))

    def _batch_normalization(self, node: onnx.NodeProto) -> None:
        meaning = self._meaning(node.input[0])
        if not isinstance(meaning, _Sum) or len(meaning.branches) != 1 or meaning.branches[0].convolution is None:
            raise _Unsupported("batch normalisation that does not follow a convolution")
        scale, shift, mean, variance = (self._constant(name) for name in node.input[1:5])
        factor = scale / np.sqrt(variance + _attributes(node).get("epsilon", 1e-5))
        (branch,), plain = meaning.branches, meaning.branches[0].convolution
        folded = replace(
            plain,
            weight=(plain.weight * factor[:, None, None, None]).astype(np.float32),
            bias=(shift + (plain.bias - mean) * factor).astype(np.float32),
        )
        self.meanings[node.output[0]] = _Sum((replace(branch, convolution=folded),))

    def _rectify(self, node: onnx.NodeProto) -> None:
        meaning = self._meaning(node.input[0])
        if not isinstance(meaning, _Sum):
            raise _Unsupported("a ReLU that does not follow a convolution or an addition")
        self.junctions[node.output[0]] = Junction(node.input[0], node.output[0], meaning.branches)
        self.meanings[node.output[0]] = _Feature(node.output[0])

    def _add(self, node: onnx.NodeProto) -> None:
        left, right = node.input
        if right in self.constants and isinstance(self._meaning(left), _Scores):
            self._add_bias(node)
            return
        branches: tuple[Branch, ...] = ()
        for meaning in (self._meaning(left), self._meaning(right)):
            if isinstance(meaning, _Sum):
                branches += meaning.branches
            elif isinstance(meaning, _Feature) and meaning.pool is None:
                branches += (Branch(meaning.name),)
            else:
                raise _Unsupported("an addition of something else than convolutions and feature maps")
        self.meanings[node.output[0]] = _Sum(branches)

    def _max_pool(self, node: onnx.NodeProto) -> None:
        settings = _attributes(node)
        kernel, pads = settings["kernel_shape"], settings.get("pads", [0, 0, 0, 0])
        strides = settings.get("strides", [1, 1])
        if len({*kernel}) != 1 or len({*strides}) != 1 or len({*pads}) != 1 or settings.get("ceil_mode", 0):
            raise _Unsupported("windows that are not square, or rounded up")
        source = self._feature(node.input[0])
        if source.pool is not None or not self._rectified(source.name):
            raise _Unsupported("maximum pooling of something else than the output of a ReLU")
        self.meanings[node.output[0]] = _Feature(source.name, MaxPool(kernel[0], strides[0], pads[0]))

    def _rectified(self, name: str) -> bool:
        return name in self.junctions and self.junctions[name].rectified

    def _average(self, node: onnx.NodeProto) -> None:
        if node.op_type == "ReduceMean":
            axes = self._constant(node.input[1]) if len(node.input) > 1 else _attributes(node).get("axes", [])
            if sorted(int(axis) % 4 for axis in axes) != [2, 3]:
                raise _Unsupported("a mean over something else than height and width")
        source = self._feature(node.input[0])
        if source.pool is not None:
            raise _Unsupported("average pooling behind maximum pooling")
        self.meanings[node.output[0]] = _Pooled(source.name)

    def _linear(self, node: onnx.NodeProto) -> None:
        settings, source = _attributes(node), self._meaning(node.input[0])
        if not isinstance(source, _Pooled) or settings.get("transA") or settings.get("alpha", 1.0) != 1.0:
            raise _Unsupported("a linear layer that does not follow global average pooling")
        weight = self._constant(node.input[1])
        weight = weight if settings.get("transB") else np.ascontiguousarray(weight.T)
        bias = self._constant(node.input[2]) if len(node.input) > 2 else np.zeros(len(weight), np.float32)
        if settings.get("beta", 1.0) != 1.0:
            raise _Unsupported("a scaled bias")
        self.meanings[node.output[0]] = _Scores(Head(source.source, weight, bias, node.output[0]))

    def _add_bias(self, node: onnx.NodeProto) -> None:
        scores = self.meanings[node.input[0]]
        assert isinstance(scores, _Scores)  # noqa: S101 - for the type checker
        head = replace(scores.head, bias=scores.head.bias + self._constant(node.input[1]).reshape(-1))
        self.meanings[node.output[0]] = _Scores(head)

    def _pass_on(self, node: onnx.NodeProto) -> None:
        meaning = self._meaning(node.input[0])
        if node.op_type in {"Flatten", "Reshape", "Squeeze"} and not isinstance(meaning, _Pooled):
            raise _Unsupported("a feature map is reshaped before global average pooling")
        if isinstance(meaning, _Sum):
            meaning = self._feature(node.input[0])
        self.meanings[node.output[0]] = meaning

    def _constant(self, name: str) -> NDArray[Any]:
        if name not in self.constants:
            raise _Unsupported("its weights are no constants")
        return self.constants[name]


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def _sizes(graph: onnx.GraphProto) -> dict[str, Size]:
    """Height and width of every tensor of four axes whose last two are known."""
    sizes: dict[str, Size] = {}
    for item in (*graph.input, *graph.value_info):
        axes = item.type.tensor_type.shape.dim
        if len(axes) == 4 and all(axis.HasField("dim_value") for axis in axes[2:]):
            sizes[item.name] = (axes[2].dim_value, axes[3].dim_value)
    return sizes
