"""Sums over channels as matrix products: onnxruntime adds up along a strided axis twenty times slower."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from services.uncertainty.explanation.networks.graph import Size

LEAST_POSITIONS = 256
"""On smaller maps the sum itself is as fast."""


def with_fast_sums(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace, in place, each sum over the channels (axis 1, kept) of a large map whose shape is known."""
    graph = model.graph
    shapes = _shapes(shape_inference.infer_shapes(model).graph)
    constants = {item.name: item for item in graph.initializer}
    known: dict[str, onnx.TensorProto] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        shape = shapes.get(node.input[0]) if node.op_type == "ReduceSum" else None
        if shape is not None and shape[1] * shape[2] >= LEAST_POSITIONS and _over_channels(node, constants):
            nodes += _product(node, shape[0], (shape[1], shape[2]), known)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(known.values())
    return model


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, int, int]]:
    """Channels, height and width of every tensor of four axes, as far as they are known."""
    found = {}
    for item in (*graph.input, *graph.output, *graph.value_info):
        axes = item.type.tensor_type.shape.dim
        if len(axes) == 4 and all(axis.dim_value > 0 for axis in axes[1:]):
            found[item.name] = (axes[1].dim_value, axes[2].dim_value, axes[3].dim_value)
    return found


def _over_channels(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    kept = any(item.name == "keepdims" and item.i == 1 for item in node.attribute)
    axes = constants.get(node.input[1]) if len(node.input) > 1 else None
    return kept and axes is not None and numpy_helper.to_array(axes).tolist() == [1]


def _product(
    node: onnx.NodeProto, channels: int, size: Size, known: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto]:
    def store(name: str, value: Sequence[int] | None) -> str:
        array = np.ones((1, channels), np.float32) if value is None else np.array(value, np.int64)
        return known.setdefault(name, numpy_helper.from_array(array, name)).name

    name = node.output[0]
    flat = store(f"sum_flat_{channels}", [0, channels, -1])
    ones = store(f"sum_ones_{channels}", None)
    back = store(f"sum_back_{size[0]}_{size[1]}", [0, 1, *size])
    return [
        helper.make_node("Reshape", [node.input[0], flat], [f"{name}_flat"], name=f"{name}_flat"),
        helper.make_node("MatMul", [ones, f"{name}_flat"], [f"{name}_row"], name=f"{name}_row"),
        helper.make_node("Reshape", [f"{name}_row", back], [name], name=name),
    ]
