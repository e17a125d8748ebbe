"""Activations, rectifiers with a ceiling or without, and the operators that change nothing at inference."""

from __future__ import annotations

import math

import onnx

from services.uncertainty.explanation.networks.graph import UnsupportedNode
from services.uncertainty.explanation.networks.reading.attributes import read_attributes
from services.uncertainty.explanation.networks.reading.tensors import Feature, Tensors, Total


def read_rectifier(tensors: Tensors, node: onnx.NodeProto) -> None:
    """Relu: ends a sum."""
    read_attributes(node)
    meaning = tensors.meaning(node.input[0])
    if not isinstance(meaning, Total):
        raise UnsupportedNode("a ReLU that does not follow a convolution or an addition")
    tensors.join(node.input[0], node.output[0], meaning)
    tensors.meanings[node.output[0]] = Feature(node.output[0])


def read_clip(tensors: Tensors, node: onnx.NodeProto) -> None:
    """Clip from 0 to a ceiling above it, as ReLU6 is: ends a sum."""
    read_attributes(node)
    meaning = tensors.meaning(node.input[0])
    if not isinstance(meaning, Total):
        raise UnsupportedNode("a Clip that does not follow a convolution or an addition")
    lowest, highest = (_bound(tensors, node, place) for place in (1, 2))
    if lowest != 0 or (highest is not None and not highest > 0):
        raise UnsupportedNode(f"a Clip from {lowest} to {highest}, which is no rectifier: it has to begin at 0")
    tensors.join(node.input[0], node.output[0], meaning, ceiling=highest)
    tensors.meanings[node.output[0]] = Feature(node.output[0])


def _bound(tensors: Tensors, node: onnx.NodeProto, place: int) -> float | None:
    """A bound of a Clip; None where it is left out, or no finite number."""
    if len(node.input) <= place or not node.input[place]:
        return None
    value = tensors.constant(node.input[place])
    if value.size != 1:
        raise UnsupportedNode("a Clip whose bounds are not one number each")
    number = float(value.reshape(()))
    return number if math.isfinite(number) else None


def read_identity(tensors: Tensors, node: onnx.NodeProto) -> None:
    """Cast, Dropout, Identity: what follows reads the same."""
    require_identity(tensors, node)
    tensors.meanings[node.output[0]] = tensors.meaning(node.input[0])


def require_identity(tensors: Tensors, node: onnx.NodeProto) -> None:
    """Raise UnsupportedNode for one that changes something: the type, or values at random."""
    settings = read_attributes(node, seed=0, to=onnx.TensorProto.FLOAT, saturate=1, round_mode=b"up", ratio=0.5)
    if settings["to"] != onnx.TensorProto.FLOAT:
        raise UnsupportedNode("a conversion to another type than float32")
    trains = node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]
    if trains and tensors.constant(node.input[2]).any():
        raise UnsupportedNode("dropout in training mode; export the model for inference")
