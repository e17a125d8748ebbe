"""From an ONNX file to a `Network`, or the list of what stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import onnx
from onnx import shape_inference

from services.uncertainty.explanation.networks.graph import Network, UnsupportedNetwork, UnsupportedNode
from services.uncertainty.explanation.networks.reading.activation import read_clip, read_identity, read_rectifier
from services.uncertainty.explanation.networks.reading.addition import read_addition
from services.uncertainty.explanation.networks.reading.convolution import (
    read_batch_normalization,
    read_convolution,
    read_padding,
)
from services.uncertainty.explanation.networks.reading.linear import head_of, read_linear, read_reshaping
from services.uncertainty.explanation.networks.reading.normalisation import (
    fold_constants,
    is_normalisation,
    with_known_padding,
)
from services.uncertainty.explanation.networks.reading.pooling import (
    read_average_pool,
    read_global_average,
    read_max_pool,
)
from services.uncertainty.explanation.networks.reading.tensors import Tensors


def _pass_over(tensors: Tensors, node: onnx.NodeProto) -> None:
    """Shape: what is made of it is judged where it is read."""
    del tensors, node


_READERS: Final[Mapping[str, Callable[[Tensors, onnx.NodeProto], None]]] = {
    "Add": read_addition,
    "AveragePool": read_average_pool,
    "BatchNormalization": read_batch_normalization,
    "Cast": read_identity,
    "Clip": read_clip,
    "Conv": read_convolution,
    "Dropout": read_identity,
    "Flatten": read_reshaping,
    "Gemm": read_linear,
    "GlobalAveragePool": read_global_average,
    "Identity": read_identity,
    "MatMul": read_linear,
    "MaxPool": read_max_pool,
    "Pad": read_padding,
    "ReduceMean": read_global_average,
    "Relu": read_rectifier,
    "Reshape": read_reshaping,
    "Shape": _pass_over,
    "Squeeze": read_reshaping,
    "Sum": read_addition,
}


def read_network(model: onnx.ModelProto) -> Network:
    """What the decomposition sees of a classifier.

    Args:
        model: as `prepared` leaves it: one input (batch, channels, height, width) of fixed height and width, one output
            (batch, classes), normalisation by constants, convolutions with or without groups, batch normalisation, ReLU
            and ReLU6 (Clip from 0), maximum pooling of what a ReLU answered, average pooling, additions, and either
            global average pooling and a linear layer, or linear layers with ReLU between them.

    Raises:
        UnsupportedNetwork: names every node that is something else.
    """
    graph = shape_inference.infer_shapes(with_known_padding(model), data_prop=True).graph
    tensors = Tensors(graph)
    inputs = [item.name for item in graph.input if item.name not in tensors.constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise UnsupportedNetwork(["a network that has not one input and one output"])
    tensors.input = inputs[0]
    faults = [fault for node in graph.node if (fault := _fault(tensors, node))]
    if faults:
        raise UnsupportedNetwork(faults)
    head = head_of(tensors, graph.output[0].name)
    names = [tensors.input, *tensors.junctions]
    sizes = {name: size for name in names if (size := tensors.size(name)) is not None}
    if missing := [name for name in names if name not in sizes]:
        raise UnsupportedNetwork([f"feature maps without a fixed height and width ({', '.join(missing)})"])
    return Network(tensors.input, sizes, tuple(tensors.junctions.values()), head, frozenset(tensors.flat))


def _fault(tensors: Tensors, node: onnx.NodeProto) -> str | None:
    """Take one node in; what is wrong with it, if anything is."""
    name = f"{node.op_type} {node.name or node.output[0]}"
    if node.domain not in {"", "ai.onnx"}:
        return f"{name}: an operation of {node.domain}"
    try:
        _take_in(tensors, node)
    except UnsupportedNode as fault:
        return f"{name}: {fault}"
    return None


def _take_in(tensors: Tensors, node: onnx.NodeProto) -> None:
    if fold_constants(tensors, node):
        return
    if is_normalisation(tensors, node):
        tensors.input = node.output[0]
        return
    if not any(tensors.is_known(each) for each in node.input):
        return  # what comes of a node that was refused, or of the shape of something
    reader = _READERS.get(node.op_type)
    if reader is None:
        raise UnsupportedNode("an operation without a rule")
    reader(tensors, node)
