"""Additions: shortcuts, and biases that stand by themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onnx
from numpy.typing import NDArray

from services.uncertainty.explanation.networks.graph import Branch, UnsupportedNode
from services.uncertainty.explanation.networks.reading.attributes import read_attributes
from services.uncertainty.explanation.networks.reading.constants import finite, row
from services.uncertainty.explanation.networks.reading.pooling import pooled_branch
from services.uncertainty.explanation.networks.reading.tensors import Feature, Meaning, Scores, Tensors, Total


def read_addition(tensors: Tensors, node: onnx.NodeProto) -> None:
    """Add and Sum."""
    read_attributes(node)
    constants = [name for name in node.input if name in tensors.constants]
    others = [name for name in node.input if name not in tensors.constants]
    meanings = [tensors.meaning(name) for name in others]
    if constants:
        if len(others) != 1 or len(constants) != 1:
            raise UnsupportedNode("an addition of several constants")
        tensors.meanings[node.output[0]] = _with_constant(tensors, meanings[0], tensors.constants[constants[0]])
        return
    shapes = {tensors.shapes.get(name, ())[1:] for name in others}
    if len(shapes) != 1 or None in next(iter(shapes)) or not next(iter(shapes)):
        raise UnsupportedNode("an addition of feature maps whose shapes differ or are not known")
    branches: tuple[Branch, ...] = ()
    for meaning in meanings:
        branches += _summands(tensors, meaning)
    tensors.meanings[node.output[0]] = Total(branches)


def _summands(tensors: Tensors, meaning: Meaning) -> tuple[Branch, ...]:
    if isinstance(meaning, Total):
        return meaning.branches
    if not isinstance(meaning, Feature):
        raise UnsupportedNode("an addition of something else than convolutions and feature maps")
    return (Branch(meaning.name),) if meaning.pool is None else (pooled_branch(tensors, meaning),)


def _with_constant(tensors: Tensors, meaning: Meaning, constant: NDArray[Any]) -> Meaning:
    """A bias that stands as an addition of its own."""
    if isinstance(meaning, Scores):
        bias = meaning.head.bias
        return Scores(replace(meaning.head, bias=finite(bias + row(constant, len(bias)))))
    convolution = meaning.branches[0].convolution if isinstance(meaning, Total) else None
    if not isinstance(meaning, Total) or len(meaning.branches) != 1 or convolution is None:
        raise UnsupportedNode("a constant is added to something else than one convolution or linear layer")
    flat = constant
    if not (flat.ndim <= 2 and meaning.branches[0].source in tensors.flat) and flat.size > 1:
        if flat.ndim < 3 or flat.shape[-2:] != (1, 1):
            raise UnsupportedNode("a constant that differs between positions is added")
        flat = flat[..., 0, 0]
    folded = replace(convolution, bias=finite(convolution.bias + row(flat, len(convolution.bias))))
    return Total((replace(meaning.branches[0], convolution=folded),))
