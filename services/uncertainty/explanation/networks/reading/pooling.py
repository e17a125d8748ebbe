"""Maximum and average pooling, of windows and of whole maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import onnx

from services.uncertainty.explanation.networks.graph import Branch, MaxPool, UnsupportedNode
from services.uncertainty.explanation.networks.reading.attributes import padding_of, read_attributes, same_steps
from services.uncertainty.explanation.networks.reading.constants import alike, is_identity
from services.uncertainty.explanation.networks.reading.tensors import Feature, Pooled, Tensors, Total

_MOST_POOLED_CHANNELS: Final = 1024
"""Of a pooling that becomes a convolution, whose weights grow with the square."""


def pooled_branch(tensors: Tensors, feature: Feature) -> Branch:
    """A maximum pooling as a summand: one in front of a convolution that changes nothing."""
    return Branch(feature.name, alike(tensors.channels(feature.name), (1, 1), 1.0), feature.pool)


def plain_feature(tensors: Tensors, name: str) -> Feature:
    """The tensor as a feature map; a maximum pooling, which no convolution reads here, becomes a layer of its own."""
    meaning = tensors.meaning(name)
    if isinstance(meaning, Feature) and meaning.pool is not None:
        tensors.meanings[name] = Total((pooled_branch(tensors, meaning),))
    return tensors.feature(name)


def read_max_pool(tensors: Tensors, node: onnx.NodeProto) -> None:
    """MaxPool of what is never negative."""
    settings = read_attributes(
        node, auto_pad=b"NOTSET", ceil_mode=0, dilations=[1, 1], kernel_shape=None, pads=None, storage_order=0,
        strides=[1, 1],
    )  # fmt: skip
    kernel = settings["kernel_shape"]
    if len(kernel) != 2 or len({*kernel}) != 1:
        raise UnsupportedNode("windows that are not square")
    if any(step != 1 for step in settings["dilations"]):
        raise UnsupportedNode("dilated windows")
    if len([name for name in node.output if name]) > 1:
        raise UnsupportedNode("the places of the maxima are an output")
    source = plain_feature(tensors, node.input[0])
    if not _is_never_negative(tensors, source.name):
        raise UnsupportedNode("maximum pooling of something else than the output of a ReLU")
    below, stride = tensors.require_size(source.name), same_steps(settings["strides"])
    pads = padding_of(settings, kernel, stride, below)
    if pads[0] != pads[1] or pads[0] >= kernel[0]:
        raise UnsupportedNode("padding that differs between sides, or is not smaller than the window")
    pool = MaxPool(kernel[0], stride, pads[0])
    tensors.require_agreement(node.output[0], pool.size(below))
    tensors.meanings[node.output[0]] = Feature(source.name, pool)


def _is_never_negative(tensors: Tensors, name: str) -> bool:
    """Whether it is what a ReLU answered, or its maximum pooling, so that zeros around it change nothing."""
    junction = tensors.junctions.get(name)
    if junction is None:
        return False
    pooled = len(junction.branches) == 1 and junction.branches[0].pool is not None
    return junction.rectified or (pooled and is_identity(junction.branches[0].convolution))


def read_global_average(tensors: Tensors, node: onnx.NodeProto) -> None:
    """GlobalAveragePool, and ReduceMean over height and width."""
    if node.op_type == "ReduceMean":
        settings = read_attributes(node, axes=None, keepdims=1, noop_with_empty_axes=0)
        axes = tensors.constant(node.input[1]).ravel().tolist() if len(node.input) > 1 else settings["axes"]
        if sorted(int(axis) % 4 for axis in axes or []) != [2, 3]:
            raise UnsupportedNode("a mean over something else than height and width")
    else:
        read_attributes(node)
    tensors.meanings[node.output[0]] = Pooled(plain_feature(tensors, node.input[0]).name)


def read_average_pool(tensors: Tensors, node: onnx.NodeProto) -> None:
    """AveragePool: over the whole map it is global; else a convolution whose taps all weigh the same."""
    settings = read_attributes(
        node, auto_pad=b"NOTSET", ceil_mode=0, count_include_pad=0, dilations=[1, 1], kernel_shape=None, pads=None,
        strides=[1, 1],
    )  # fmt: skip
    kernel = tuple(settings["kernel_shape"])
    if len(kernel) != 2 or any(step != 1 for step in settings["dilations"]):
        raise UnsupportedNode("dilated windows, or of another number of axes")
    source = plain_feature(tensors, node.input[0])
    below, stride = tensors.require_size(source.name), settings["strides"]
    pads = padding_of(settings, kernel, max(stride), below)
    if pads != (0, 0) and not settings["count_include_pad"]:
        raise UnsupportedNode("average pooling that does not count its padding")
    if kernel == below and pads == (0, 0):
        tensors.meanings[node.output[0]] = Pooled(source.name)
        return
    channels = tensors.channels(source.name)
    if channels > _MOST_POOLED_CHANNELS or any(pad >= side for pad, side in zip(pads, kernel, strict=True)):
        raise UnsupportedNode(f"average pooling of more than {_MOST_POOLED_CHANNELS} channels, or of padding alone")
    weight = alike(channels, kernel, 1 / (kernel[0] * kernel[1]))
    convolution = replace(weight, stride=same_steps(stride), padding=pads)
    tensors.require_agreement(node.output[0], convolution.size(below))
    tensors.meanings[node.output[0]] = Total((Branch(source.name, convolution),))
