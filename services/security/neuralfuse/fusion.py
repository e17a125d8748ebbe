"""A generator and the classifier behind it as one ONNX graph, to be run elsewhere.

Imports the onnx package and reads files: the service lets a process of its own do it (`isolated_graphs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper, version_converter

from services.security.neuralfuse.seam import Seam

PICTURES = "pictures"


class UnfusableGraphs(Exception):
    """Two graphs cannot be made one; the message says why."""


def fuse(generator: ModelProto, base: ModelProto, seam: Seam) -> ModelProto:
    """Put a generator before a classifier.

    Args:
        generator: `F`: one input, one output, pictures in [0, 1].
        base: one input, one output.
        seam: what is between.

    Returns:
        A graph whose input `pictures` is RGB in [0, 1], (batch, 3, height, width), float32, cut and scaled as the
        classifier wants it, and whose outputs are those of the classifier.

    Raises:
        UnfusableGraphs: their versions of ONNX cannot be brought together, or their tensors do not fit.
    """
    first, second = _of_one_version(generator, base)
    outputs = [one.name for one in second.graph.output]
    (pictures,), (taken,) = _own_inputs(first), _own_inputs(second)
    made = first.graph.output[0].name
    if seam.scale is not None and seam.shift is not None:
        made = _normalise(first, made, seam.scale, seam.shift)
    first, second = compose.add_prefix(first, "generator/"), compose.add_prefix(second, "base/")
    try:
        joint = compose.merge_models(first, second, io_map=[(f"generator/{made}", f"base/{taken}")])
    except ValueError as error:
        raise UnfusableGraphs(f"the graphs do not fit together: {error}") from None
    _rename(joint, {f"generator/{pictures}": PICTURES, **{f"base/{name}": name for name in outputs}})
    for axis, size in zip(joint.graph.input[0].type.tensor_type.shape.dim[2:], (seam.height, seam.width), strict=True):
        axis.dim_value = size
    onnx.checker.check_model(joint)
    return joint


def _own_inputs(model: ModelProto) -> list[str]:
    constants = {one.name for one in model.graph.initializer}
    names = [one.name for one in model.graph.input if one.name not in constants]
    if len(names) != 1 or len(model.graph.output) != 1:
        raise UnfusableGraphs("a graph has not one input and one output")
    return names


def _of_one_version(*models: ModelProto) -> list[ModelProto]:
    """Copies with the newest operators that one of them has."""
    newest = max(_opset(model) for model in models)
    copies = []
    for model in models:
        try:
            copy = version_converter.convert_version(model, newest) if _opset(model) < newest else _copied(model)
        except RuntimeError as error:
            raise UnfusableGraphs(f"one of the graphs cannot be converted to version {newest}: {error}") from None
        copy.ir_version = max(one.ir_version for one in models)
        copies.append(copy)
    return copies


def _copied(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def _opset(model: ModelProto) -> int:
    return max((one.version for one in model.opset_import if one.domain in {"", "ai.onnx"}), default=1)


def _normalise(model: ModelProto, name: str, scale: Sequence[float], shift: Sequence[float]) -> str:
    """Let the graph end in scale * x + shift; the name of what comes out."""
    graph, made = model.graph, "normalised"
    for constant, values in (("scale", scale), ("shift", shift)):
        array = np.asarray(values, np.float32).reshape(1, -1, 1, 1)
        graph.initializer.append(numpy_helper.from_array(array, f"{made}/{constant}"))
    graph.node.append(helper.make_node("Mul", [name, f"{made}/scale"], [f"{made}/scaled"]))
    graph.node.append(helper.make_node("Add", [f"{made}/scaled", f"{made}/shift"], [made]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(made, TensorProto.FLOAT, ["batch", len(scale), None, None]))
    return made


def _rename(model: ModelProto, names: dict[str, str]) -> None:
    """Inputs and outputs under other names."""
    graph: Any = model.graph
    for one in (*graph.input, *graph.output, *graph.value_info):
        one.name = names.get(one.name, one.name)
    for node in graph.node:
        for place in (node.input, node.output):
            place[:] = [names.get(name, name) for name in place]
