"""Convolutions, and what is folded into them: batch normalisation behind, zeros around."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from services.uncertainty.explanation.networks.graph import Branch, Convolution, Sides, UnsupportedNode
from services.uncertainty.explanation.networks.reading.attributes import read_attributes, same_steps, sides_of
from services.uncertainty.explanation.networks.reading.constants import finite
from services.uncertainty.explanation.networks.reading.tensors import Feature, Padded, Tensors, Total

_MOST_UNGROUPED: Final = 16 * 1024 * 1024
"""Weights of a kernel whose groups are more than a channel wide, for its norms: 64 MB."""


def read_convolution(tensors: Tensors, node: onnx.NodeProto) -> None:
    """Conv: the first branch of a sum; a maximum pooling in front of it is a part of that branch."""
    settings = read_attributes(
        node, auto_pad=b"NOTSET", dilations=[1, 1], group=1, kernel_shape=None, pads=None, strides=[1, 1]
    )
    if any(step != 1 for step in settings["dilations"]):
        raise UnsupportedNode("dilated convolution")
    weight = tensors.weight(node.input[1])
    if weight.ndim != 4 or settings["kernel_shape"] not in (None, list(weight.shape[2:])):
        raise UnsupportedNode("a convolution that is not of height and width")
    source, around = _source(tensors, node.input[0])
    below = tensors.require_size(source.name)
    below = below if source.pool is None else source.pool.size(below)
    padded = below[0] + around[0] + around[2], below[1] + around[1] + around[3]
    groups, stride = settings["group"], same_steps(settings["strides"])
    if groups != 1:
        _require_groups(weight, groups, tensors.channels(source.name))
    own = sides_of(settings, weight.shape[2:], stride, padded)
    pads = own[0] + around[0], own[1] + around[1], own[2] + around[2], own[3] + around[3]
    if any(pad >= kernel for pad, kernel in zip(pads, weight.shape[2:] * 2, strict=True)):
        raise UnsupportedNode("padding that is not smaller than the kernel")
    bias = tensors.vector(node, 2, len(weight))
    padding = pads[:2] if pads[:2] == pads[2:] else pads
    convolution = Convolution(weight, bias, stride=stride, padding=padding, groups=groups)
    tensors.require_agreement(node.output[0], convolution.size(below))
    tensors.meanings[node.output[0]] = Total((Branch(source.name, convolution, source.pool),))


def _source(tensors: Tensors, name: str) -> tuple[Feature, Sides]:
    """What a convolution reads, and the zeros that a Pad has put around it."""
    meaning = tensors.meaning(name)
    if isinstance(meaning, Padded):
        return meaning.feature, meaning.sides
    return tensors.feature(name), (0, 0, 0, 0)


def read_padding(tensors: Tensors, node: onnx.NodeProto) -> None:
    """Pad with zeros at the sides of a map, as exporters write TensorFlow's SAME padding."""
    if read_attributes(node, mode=b"constant")["mode"] != b"constant":
        raise UnsupportedNode("padding with something else than zeros")
    if len(node.input) > 2 and node.input[2] and tensors.constant(node.input[2]).any():
        raise UnsupportedNode("padding with something else than zeros")
    axes = tensors.constant(node.input[3]).tolist() if len(node.input) > 3 and node.input[3] else [0, 1, 2, 3]
    given = tensors.constant(node.input[1]).tolist()
    before = dict(zip((axis % 4 for axis in axes), given[: len(axes)], strict=True))
    behind = dict(zip((axis % 4 for axis in axes), given[len(axes) :], strict=True))
    if any(ends.get(axis, 0) for ends in (before, behind) for axis in (0, 1)) or min(given) < 0:
        raise UnsupportedNode("padding of something else than height and width, or that cuts something off")
    sides = before.get(2, 0), before.get(3, 0), behind.get(2, 0), behind.get(3, 0)
    source, around = _source(tensors, node.input[0])
    total = sides[0] + around[0], sides[1] + around[1], sides[2] + around[2], sides[3] + around[3]
    tensors.meanings[node.output[0]] = Padded(source, total)


def _require_groups(weight: NDArray[np.float32], groups: int, channels: int) -> None:
    """That groups fit, and that the norms of their contributions take no more memory than those of one layer may."""
    outputs, inputs = weight.shape[:2]
    if groups < 1 or outputs % groups or inputs * groups != channels:
        raise UnsupportedNode(f"{groups} groups of {channels} channels for a kernel of {outputs} x {inputs}")
    if inputs > 1 and weight.size * groups > _MOST_UNGROUPED:
        raise UnsupportedNode(
            f"{groups} groups of {inputs} channels: without groups, more than {_MOST_UNGROUPED} weights"
        )


def read_batch_normalization(tensors: Tensors, node: onnx.NodeProto) -> None:
    """BatchNormalization behind one convolution."""
    settings = read_attributes(node, epsilon=1e-5, momentum=0.9, training_mode=0)
    if settings["training_mode"] or len(node.output) > 1:
        raise UnsupportedNode("batch normalisation in training mode; export the model for inference")
    meaning = tensors.meaning(node.input[0])
    if not isinstance(meaning, Total) or len(meaning.branches) != 1 or meaning.branches[0].convolution is None:
        raise UnsupportedNode("batch normalisation that does not follow a convolution")
    (branch,), plain = meaning.branches, meaning.branches[0].convolution
    scale, shift, mean, variance = (tensors.vector(node, place, len(plain.bias)) for place in range(1, 5))
    with np.errstate(invalid="ignore", divide="ignore"):  # judged right after
        factor = scale / np.sqrt(variance + settings["epsilon"])
    folded = replace(
        plain,
        weight=finite(plain.weight * factor[:, None, None, None]),
        bias=finite(shift + (plain.bias - mean) * factor),
    )
    tensors.meanings[node.output[0]] = Total((replace(branch, convolution=folded),))
