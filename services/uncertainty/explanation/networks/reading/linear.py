"""Linear layers and the reshaping in front of them: the end of a classifier, and what is its head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from services.uncertainty.explanation.networks.graph import (
    Branch,
    Convolution,
    Head,
    UnsupportedNetwork,
    UnsupportedNode,
)
from services.uncertainty.explanation.networks.reading.attributes import read_attributes
from services.uncertainty.explanation.networks.reading.constants import finite, row
from services.uncertainty.explanation.networks.reading.pooling import plain_feature
from services.uncertainty.explanation.networks.reading.tensors import Feature, Flattened, Pooled, Scores, Tensors, Total


def read_linear(tensors: Tensors, node: onnx.NodeProto) -> None:
    """Gemm and MatMul."""
    settings = read_attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
    source = tensors.meaning(node.input[0])
    if settings["transA"]:
        raise UnsupportedNode("a linear layer of something turned")
    weight = tensors.weight(node.input[1])
    if weight.ndim != 2:
        raise UnsupportedNode("a linear layer whose weights are no matrix")
    weight = finite(settings["alpha"] * (weight if settings["transB"] else weight.T))
    bias = np.zeros(len(weight), np.float32)
    if len(node.input) > 2 and node.input[2]:
        bias = finite(settings["beta"] * row(tensors.constant(node.input[2]), len(weight)))
    if isinstance(source, Pooled):
        _require_columns(weight, tensors.channels(source.source))
        tensors.meanings[node.output[0]] = Scores(Head(source.source, weight, bias, node.output[0]))
        return
    tensors.meanings[node.output[0]] = Total((_linear_branch(tensors, node.input[0], weight, bias),))


def _linear_branch(tensors: Tensors, name: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Branch:
    meaning = tensors.meaning(name)
    if isinstance(meaning, Total) and len(tensors.shapes.get(name, ())) == 2:
        meaning = tensors.feature(name)
    if isinstance(meaning, Feature) and meaning.name in tensors.flat:
        source, size = meaning.name, (1, 1)
    elif isinstance(meaning, Flattened):
        source, size = meaning.source, tensors.require_size(meaning.source)
    else:
        raise UnsupportedNode("a linear layer that does not follow global average pooling")
    channels = tensors.channels(source)
    _require_columns(weight, channels * size[0] * size[1])
    kernel = np.ascontiguousarray(weight.reshape(len(weight), channels, *size))
    return Branch(source, Convolution(kernel, bias))


def _require_columns(weight: NDArray[Any], columns: int) -> None:
    if weight.shape[1] != columns:
        raise UnsupportedNode(f"a linear layer of {weight.shape[1]} values where there are {columns}")


def read_reshaping(tensors: Tensors, node: onnx.NodeProto) -> None:
    """Flatten, Reshape, Squeeze: from a map to a row of values for each picture, and nothing else."""
    read_attributes(node, axis=1, axes=None, allowzero=0)
    meaning, shape = tensors.meaning(node.input[0]), tensors.shapes.get(node.output[0], ())
    batch, below = tensors.shapes.get(tensors.picture, (None,))[0], tensors.shapes.get(node.input[0], ())
    if len(shape) == len(below) == 2 and shape[1] == below[1] is not None:
        tensors.meanings[node.output[0]] = meaning
        return
    if len(shape) != 2 or shape[1] is None or (batch is not None and shape[0] != batch):
        raise UnsupportedNode("a feature map is reshaped before global average pooling")
    if isinstance(meaning, Pooled):
        if shape[1] != tensors.channels(meaning.source):
            raise UnsupportedNode("the pooled channels are reshaped to something else than one row a picture")
        tensors.meanings[node.output[0]] = meaning
        return
    source = plain_feature(tensors, node.input[0]).name
    rows, columns = tensors.require_size(source)
    if shape[1] != tensors.channels(source) * rows * columns:
        raise UnsupportedNode("a feature map is reshaped before global average pooling")
    tensors.meanings[node.output[0]] = Flattened(source)


def head_of(tensors: Tensors, output: str) -> Head:
    """What makes the logits: behind global average pooling, or the last of the linear layers.

    Raises:
        UnsupportedNetwork: the network ends in something else.
    """
    result = tensors.meanings.get(output)
    if isinstance(result, Total) and len(result.branches) == 1:
        (branch,) = result.branches
        convolution = branch.convolution
        if convolution is not None and branch.source in tensors.flat and branch.pool is None:
            return Head(branch.source, convolution.weight[:, :, 0, 0], convolution.bias, output)
        if convolution is not None and len(tensors.shapes.get(output, ())) == 2:
            raise UnsupportedNetwork(
                ["a feature map that is reshaped before global average pooling and read by the last linear layer"]
            )
    if not isinstance(result, Scores):
        raise UnsupportedNetwork(["a network that does not end in global average pooling and a linear layer"])
    return replace(result.head, logits=output)
