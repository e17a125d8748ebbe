"""Multiply-accumulates of an ONNX graph for one picture, counted from the shapes of its tensors.

Convolutions, transposed convolutions and matrix products, in single precision or of integers; no normalisation, no
activation. A transposed convolution counts as a convolution over all positions that it writes, as ptflops has it, which
the published counts are made with (arXiv:2306.16869v3, Table 7).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import onnx

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


class UncountableGraph(Exception):
    """The shape of some tensor cannot be told; the message names it."""


def count_macs(model: onnx.ModelProto, *, height: int, width: int) -> int:
    """Count those of one run on one picture.

    Args:
        model: its only input is (batch, channels, height, width), where batch and sides may be open.
        height: of the picture.
        width: of it.

    Raises:
        UncountableGraph: a shape does not follow from that of the picture.
    """
    shapes = _inferred_shapes(model, height, width)
    return sum(_count(node, shapes) for node in model.graph.node)


def _inferred_shapes(model: onnx.ModelProto, height: int, width: int) -> Shapes:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    constants = {one.name for one in fixed.graph.initializer}
    (picture,) = [one for one in fixed.graph.input if one.name not in constants]
    for axis, size in zip(picture.type.tensor_type.shape.dim, (1, None, height, width), strict=True):
        if size is not None:
            axis.dim_value = size
    del fixed.graph.value_info[:]
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise UncountableGraph(f"the shapes of its tensors cannot be inferred: {error}") from None
    shapes = {one.name: tuple(one.dims) for one in inferred.initializer}
    for one in (*inferred.input, *inferred.value_info, *inferred.output):
        axes = one.type.tensor_type.shape.dim
        if all(axis.HasField("dim_value") for axis in axes):
            shapes.setdefault(one.name, tuple(axis.dim_value for axis in axes))
    return shapes


def _count(node: onnx.NodeProto, shapes: Shapes) -> int:
    found = _COUNTERS.get(node.op_type)
    if found is None:
        return 0
    counter, places = found
    names = [*(node.input[place] for place in places), node.output[0]]
    missing = [name for name in names if name not in shapes]
    if missing:
        raise UncountableGraph(f"the shape of {missing[0]} is not known")
    return counter([shapes[name] for name in names], node)


def _convolution(shapes: Sequence[Shape], _: onnx.NodeProto) -> int:
    """Of (outputs, inputs of a group, rows, columns): each position that is written takes all but the first."""
    weights, written = shapes
    return math.prod(written) * math.prod(weights[1:])


def _transposed_convolution(shapes: Sequence[Shape], _: onnx.NodeProto) -> int:
    """Of (inputs, outputs of a group, rows, columns)."""
    weights, written = shapes
    groups = written[1] // weights[1]
    return math.prod(written) * weights[0] // groups * math.prod(weights[2:])


def _gemm(shapes: Sequence[Shape], node: onnx.NodeProto) -> int:
    left, written = shapes
    transposed = any(one.name == "transA" and one.i for one in node.attribute)
    return math.prod(written) * left[0 if transposed else 1]


def _matrix_product(shapes: Sequence[Shape], _: onnx.NodeProto) -> int:
    left, written = shapes
    return math.prod(written) * left[-1]


_Counter = Callable[[Sequence[Shape], onnx.NodeProto], int]

_COUNTERS: Final[Mapping[str, tuple[_Counter, tuple[int, ...]]]] = {
    "Conv": (_convolution, (1,)),
    "ConvInteger": (_convolution, (1,)),
    "QLinearConv": (_convolution, (3,)),
    "ConvTranspose": (_transposed_convolution, (1,)),
    "Gemm": (_gemm, (0,)),
    "MatMul": (_matrix_product, (0,)),
    "MatMulInteger": (_matrix_product, (0,)),
    "QLinearMatMul": (_matrix_product, (0,)),
}
"""By operator: what counts, and the inputs whose shapes it takes, before that of the first output."""
