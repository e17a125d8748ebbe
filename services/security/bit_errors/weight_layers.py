"""Which tensors of an ONNX graph are the weights of its layers, and what to call them.

A weight is what a convolution or a matrix product multiplies by and the file states: an initialiser or a constant,
perhaps behind nodes that only change its form (a cast, a transposition, the dequantisation of a QDQ graph).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import onnx
import onnx.inliner
from onnx import NodeProto, TensorProto

WEIGHT_INPUTS: Final[Mapping[str, tuple[int, ...]]] = {
    "Conv": (1,),
    "FusedConv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "FusedMatMul": (0, 1),
    "QLinearConv": (3,),
    "ConvInteger": (1,),
    "MatMulInteger": (0, 1),
    "MatMulIntegerToFloat": (1,),
    "DynamicQuantizeMatMul": (1,),
    "QLinearMatMul": (0, 3),
    "QGemm": (3,),
}
"""Inputs of an operator that may be weights."""

_PASSED: Final = frozenset(
    {"DequantizeLinear", "Cast", "Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten"}
)
"""Operators whose first input holds the same weights in another form."""


_COUNTED: Final = "node_"
"""Begins the names that torch.onnx.export(dynamo=True) gives nodes."""

_WEIGHT: Final = ".weight"


class UnreadableMemory(ValueError):
    """The weights of a model cannot be read as a memory; the message says why, for the owner of the model."""


@dataclass(frozen=True, slots=True)
class WeightLayer:
    """A tensor that the file states and layers multiply by.

    Attributes:
        tensor: as stated.
        name: initialiser, or output of the constant node.
        layer: name for people, of the first node that uses it; each layer has one of its own.
        operator: of that node.
    """

    tensor: TensorProto
    name: str
    layer: str
    operator: str


@dataclass(frozen=True, slots=True)
class WeightLayers:
    """The weights of a graph.

    Attributes:
        layers: in the order in which nodes use them; a tensor that several nodes use is one.
        computed: names of nodes whose weights the graph computes, so that the file does not state them.
    """

    layers: tuple[WeightLayer, ...]
    computed: tuple[str, ...]


def load_model(content: bytes) -> onnx.ModelProto:
    """The model of a file, with functions of its own written out.

    Raises:
        UnreadableMemory: it is no ONNX file, or keeps weights in other files.
    """
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own type, which onnx does not export
        raise UnreadableMemory("the file is no ONNX model") from error
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    if outside := [one.name for one in model.graph.initializer if one.data_location == TensorProto.EXTERNAL]:
        raise UnreadableMemory(f"weights lie in other files ({outside[0]}): save the model with its weights inside")
    return model


def find_weight_layers(model: onnx.ModelProto) -> WeightLayers:
    """The weights of a model, found from the layers upwards.

    Raises:
        UnreadableMemory: weights of the body of an If, Loop or Scan.
    """
    graph = model.graph
    _refuse_inner_layers(graph)
    origins = _Origins.of(graph)
    found: dict[str, WeightLayer] = {}
    layers: set[str] = set()
    computed: list[str] = []
    for node, name in zip(graph.node, _unique_names(graph), strict=True):
        for given in _weight_inputs(node, origins):
            stated = origins.trace(given)
            if stated is None:
                computed.append(name)
            elif stated[0] not in found:
                layer = _module_name(node, stated[0]) or name
                layer = layer if layer not in layers else f"{layer} ({stated[0]})"
                layers.add(layer)
                found[stated[0]] = WeightLayer(stated[1], stated[0], layer, node.op_type)
    return WeightLayers(tuple(found.values()), tuple(computed))


@dataclass(frozen=True, slots=True)
class _Origins:
    """Where tensors of a graph come from; `constants` are those that do not depend on its inputs."""

    producers: Mapping[str, NodeProto]
    initialisers: Mapping[str, TensorProto]
    constants: frozenset[str]

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> _Origins:
        initialisers = {one.name: one for one in graph.initializer}
        producers = {given: node for node in graph.node for given in node.output}
        constants = set(initialisers) | {one.values.name for one in graph.sparse_initializer}
        for node in graph.node:
            if all(name in constants for name in node.input if name):
                constants.update(node.output)
        return cls(producers, initialisers, frozenset(constants))

    def trace(self, name: str) -> tuple[str, TensorProto] | None:
        """The stated tensor behind a name; None where it is computed. Graphs have no circles: ONNX is in order."""
        while name not in self.initialisers:
            node = self.producers.get(name)
            if node is None:
                return None
            if node.op_type == "Constant":
                return _constant(node)
            if node.op_type not in _PASSED or not node.input:
                return None
            name = node.input[0]
        return name, self.initialisers[name]


def _constant(node: NodeProto) -> tuple[str, TensorProto] | None:
    """The tensor of a constant node; scalars and lists in attributes are no weights."""
    for attribute in node.attribute:
        if attribute.name == "value":
            return node.output[0], attribute.t
    return None


def _weight_inputs(node: NodeProto, origins: _Origins) -> Iterator[str]:
    """Inputs that hold weights; of a product that may have them on either side, those that do not depend on the data.

    A product of two activations, as in attention, has none.
    """
    places = WEIGHT_INPUTS.get(node.op_type, ())
    given = [node.input[place] for place in places if place < len(node.input) and node.input[place]]
    yield from (name for name in given if len(places) == 1 or name in origins.constants)


def _module_name(node: NodeProto, weight: str) -> str | None:
    """What the weight says of its layer (`layer1.0.conv1.weight`), where the node has no name but a counted one."""
    named = node.name and not node.name.startswith(_COUNTED)
    return weight.removesuffix(_WEIGHT) if not named and weight.endswith(_WEIGHT) and weight != _WEIGHT else None


def _unique_names(graph: onnx.GraphProto) -> list[str]:
    """A name for each node: its own or that of its output, with a number behind one that is taken."""
    taken: dict[str, int] = {}
    names = []
    for node in graph.node:
        name = node.name or (node.output[0] if node.output else node.op_type)
        taken[name] = taken.get(name, 0) + 1
        names.append(name if taken[name] == 1 else f"{name} #{taken[name]}")
    return names


def _refuse_inner_layers(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for inner in _subgraphs(node):
            if _has_layers(inner):
                raise UnreadableMemory(
                    f"layers lie within the body of {node.op_type} {node.name or node.output[0]}: export the model "
                    "without control flow around its layers"
                )


def _has_layers(graph: onnx.GraphProto) -> bool:
    return any(
        node.op_type in WEIGHT_INPUTS or any(_has_layers(inner) for inner in _subgraphs(node)) for node in graph.node
    )


def _subgraphs(node: NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from attribute.graphs
        if attribute.HasField("g"):
            yield attribute.g
