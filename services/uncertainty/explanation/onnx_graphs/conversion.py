"""One ONNX graph that answers with the logits and their explanation: the model as it is, with the rules behind it.

The model's own nodes stay untouched, so its logits are the same to the bit; the rules read the tensors between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from threadpoolctl import threadpool_limits

from services.uncertainty.explanation.networks.graph import Network
from services.uncertainty.explanation.networks.preparation import opset_of, prepared
from services.uncertainty.explanation.networks.reading.network import read_network
from services.uncertainty.explanation.relevance.graph_operations import GraphOperations
from services.uncertainty.explanation.relevance.patterns import pattern_logits
from services.uncertainty.explanation.relevance.rules import backward, class_relevance, contrasted
from services.uncertainty.explanation.relevance.sums import with_fast_sums

TARGET = "target"
"""Input: the class to explain, int64 (batch,); -1 for the one that is predicted."""

CONTRAST = "contrast"
"""Input, 0 unless given: how much of its mean is taken from the head's map, float32 (1,)."""

SUBSTITUTE = "substitute"
"""Input: other pictures that are run with the activation pattern of the model's input, in its shape."""

EXPLAINED = "explained"
"""Output: the class that was explained, int64 (batch,)."""

RELEVANCE = "relevance"
"""Output: relevance of each pixel, float32 (batch, height, width)."""

PATTERN_LOGITS = "pattern_logits"
"""Output: logits of the substitutes under the recorded pattern, float32 (batch, classes)."""

LOST = "lost"
"""Output, for checks: relevance that belongs to nobody, float32 (batch,); with that of pixels it is the logit."""


class JointGraph:
    """A copy of a classifier that nodes are added to.

    Args:
        model: a classifier that `read_network` reads; gets the input `TARGET` and the output `EXPLAINED`.

    Attributes:
        network: what was read.
        operations: adds nodes.
        values: the tensors between the model's nodes, by name.
        weight: the explained class's row of the head, (batch, channels, 1, 1).
        bias: its bias, (batch, 1, 1, 1).

    Raises:
        UnsupportedNetwork: a part of the model has no rule.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = prepared(model)
        self.network = read_network(self._model)
        self._graph = self._model.graph
        self.picture = _picture(self._graph)
        self.operations = GraphOperations(self._graph, opset=opset_of(self._model))
        self._graph.input.append(_tensor(TARGET, TensorProto.INT64, "batch"))
        self.values = {name: self._map(name) for name in self._names()}
        self._choose_class()

    def _names(self) -> list[str]:
        junctions = self.network.junctions
        return [self.network.input, *(name for item in junctions for name in (item.name, item.output))]

    def _map(self, name: str) -> str:
        """A tensor between the nodes as (batch, channels, height, width)."""
        if name not in self.network.flat:
            return name
        return self.operations.node("Unsqueeze", name, self.operations.integers(2, 3))

    def _choose_class(self) -> None:
        add, head = self.operations, self.network.head
        predicted = add.node("ArgMax", head.logits, axis=1, keepdims=0, select_last_index=0)
        asked = add.node("Less", TARGET, add.integers(0))
        explained = add.node("Where", asked, predicted, TARGET)
        self.weight = add.node("Gather", add.store(head.weight[:, :, None, None]), explained, axis=0)
        self.bias = add.node("Gather", add.store(head.bias[:, None, None, None]), explained, axis=0)
        self.publish(explained, EXPLAINED, "batch", kind=TensorProto.INT64)

    def class_map(self) -> str:
        """The summands of the explained class's logit, (batch, 1, height, width) of the last feature map."""
        rows, columns = self.network.sizes[self.network.head.source]
        features = self.values[self.network.head.source]
        return class_relevance(self.operations, features, self.weight, self.bias, positions=rows * columns)

    def publish(self, name: str, output: str, *shape: str | int, kind: int = TensorProto.FLOAT) -> None:
        """Make a tensor an output."""
        self._graph.node.append(helper.make_node("Identity", [name], [output], name=output))
        self._graph.output.append(_tensor(output, kind, *shape))

    def publish_map(self, name: str, output: str, layer: str) -> None:
        """Make (batch, 1, height, width) of a layer an output (batch, height, width)."""
        plain = self.operations.node("Squeeze", name, self.operations.integers(1))
        self.publish(plain, output, "batch", *self.network.sizes[layer])

    def optional_number(self, name: str, default: float) -> str:
        """An input of shape (1,) that need not be given."""
        value = np.array([default], np.float32)
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        self._graph.input.append(_tensor(name, TensorProto.FLOAT, 1))
        return name

    def second_picture(self, name: str) -> str:
        """A further input of the picture's shape; returns what the model's normalisation makes of it."""
        twin = onnx.ValueInfoProto()
        twin.CopyFrom(self.picture)
        twin.name = name
        self._graph.input.append(twin)
        original, copied = self.picture.name, name
        for node in list(self._graph.node):
            if original == self.network.input:
                break
            if original in node.input:
                inputs = [copied if item == original else item for item in node.input]
                original = node.output[0]
                copied = self.operations.copy(node, inputs)
        return copied

    def require_layers(self, layers: Sequence[str]) -> None:
        """Raise KeyError for a layer that the network does not have."""
        if unknown := sorted(set(layers) - set(self.network.layers())):
            raise KeyError(f"no such layer: {', '.join(unknown)}")

    def finish(self) -> onnx.ModelProto:
        """The checked model."""
        model = with_fast_sums(self._model)
        onnx.checker.check_model(model, full_check=True)
        return model


def with_explanation(
    model: onnx.ModelProto, *, layers: Sequence[str] = (), patterns: bool = False, lost: bool = False
) -> onnx.ModelProto:
    """A copy of a classifier that also explains, by sharing ratios.

    Args:
        model: a classifier that `read_network` reads.
        layers: names of `Network.layers()` whose relevance is an output too, as `relevance/<name>`, (batch, height,
            width).
        patterns: whether it also predicts from its activation pattern only: input `SUBSTITUTE`, output
            `PATTERN_LOGITS`. It costs a further forward pass.
        lost: whether `LOST` is an output too.

    Returns:
        The model with the inputs `TARGET` and `CONTRAST` and the outputs `EXPLAINED` and `RELEVANCE` beside its own.

    Raises:
        UnsupportedNetwork: a part of the model has no rule.
        KeyError: a layer that the network does not have.
    """
    joint = JointGraph(model)
    joint.require_layers(layers)
    network, amount = joint.network, joint.optional_number(CONTRAST, 0.0)
    top = contrasted(joint.operations, joint.class_map(), amount, size=network.sizes[network.head.source])
    # Small factorisations: on a busy machine, the threads of BLAS would spend half a minute waiting for each other.
    with threadpool_limits(limits=1, user_api="blas"):
        leaks: list[str] = []
        relevance = backward(joint.operations, network, values=joint.values, relevance=top, lost=leaks)
    joint.publish_map(relevance[network.input], RELEVANCE, network.input)
    for layer in layers:
        joint.publish_map(relevance[layer], layer_output(layer), layer)
    if patterns:
        _add_patterns(joint, network)
    if lost:
        _add_lost(joint, leaks)
    return joint.finish()


def _add_lost(joint: JointGraph, leaks: Sequence[str]) -> None:
    add = joint.operations
    sums = [add.node("ReduceSum", leak, add.integers(1, 2, 3), keepdims=0) for leak in leaks]
    joint.publish(add.node("Sum", *sums), LOST, "batch")


def with_patterns(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a classifier that predicts from its activation pattern only, as `with_explanation` can do beside.

    Raises:
        UnsupportedNetwork: see `JointGraph`.
    """
    joint = JointGraph(model)
    _add_patterns(joint, joint.network)
    return joint.finish()


def layer_output(layer: str) -> str:
    """Name of the output that holds the relevance of a layer."""
    return f"{RELEVANCE}/{layer}"


def _add_patterns(joint: JointGraph, network: Network) -> None:
    substitute = joint.second_picture(SUBSTITUTE)
    logits = pattern_logits(joint.operations, network, values=joint.values, substitute=substitute)
    plain = joint.operations.node("Squeeze", logits, joint.operations.integers(2, 3))
    joint.publish(plain, PATTERN_LOGITS, "batch", len(network.head.bias))


def _picture(graph: onnx.GraphProto) -> onnx.ValueInfoProto:
    constants = {item.name for item in graph.initializer}
    picture: onnx.ValueInfoProto = next(item for item in graph.input if item.name not in constants)
    return picture


def _tensor(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))
