"""Graphs of one operator, and what onnxruntime computes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20


def one_operator(
    operator: str,
    shape: Sequence[int],
    constants: Sequence[Any] = (),
    *,
    outputs: int = 1,
    kind: int = TensorProto.FLOAT,
    opset: int = OPSET,
    **attributes: Any,
) -> onnx.ModelProto:
    """A graph of an operator whose first input is the graph's; None among the further ones leaves one out."""
    stored = {f"c{place}": np.asarray(value) for place, value in enumerate(constants) if value is not None}
    names = ["x", *(f"c{place}" if value is not None else "" for place, value in enumerate(constants))]
    found = [f"y{place}" for place in range(outputs)]
    node = helper.make_node(operator, names, found, name="one", **attributes)
    return make_model([node], shape, stored, dict.fromkeys(found, kind), opset=opset)


def make_model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    stored: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, int],
    *,
    opset: int = OPSET,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def run(model: onnx.ModelProto, values: NDArray[np.float32]) -> list[NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[NDArray[Any]] = session.run(None, {"x": values})
    return found
