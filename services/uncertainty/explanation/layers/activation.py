"""Activations, and the operators that change nothing at inference."""

from __future__ import annotations

import onnx

from services.uncertainty.explanation.attributes import read_attributes
from services.uncertainty.explanation.graph import UnsupportedNode
from services.uncertainty.explanation.layers.tensors import Feature, Tensors, Total


def read_rectifier(tensors: Tensors, node: onnx.NodeProto) -> None:
    """Relu: ends a sum."""
    read_attributes(node)
    meaning = tensors.meaning(node.input[0])
    if not isinstance(meaning, Total):
        raise UnsupportedNode("a ReLU that does not follow a convolution or an addition")
    tensors.join(node.input[0], node.output[0], meaning)
    tensors.meanings[node.output[0]] = Feature(node.output[0])


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
