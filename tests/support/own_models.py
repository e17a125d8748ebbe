"""Models as a user would bring them: a scale by a constant, so that an answer tells which version gave it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from shared.runtime.inspection.verification import draft_card

SIDE = 4


def scale(factor: float, *, nodes: int = 1, external: bool = False) -> bytes:
    """An ONNX file: `y = x * factor` on float32 (batch, 4); with more nodes, as many steps that change nothing."""
    weight = numpy_helper.from_array(np.array(factor, np.float32), "factor")
    if external:
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="../../etc/passwd")
        weight.ClearField("raw_data")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", SIDE]) for name in ("x", "y"))
    steps = [helper.make_node("Mul", ["x", "factor"], ["step_0"])]
    steps += [helper.make_node("Abs", [f"step_{number}"], [f"step_{number + 1}"]) for number in range(nodes - 1)]
    steps += [helper.make_node("Identity", [f"step_{nodes - 1}"], ["y"])]
    graph = helper.make_graph(steps, "scale", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def endless() -> bytes:
    """A graph that loops for longer than anybody waits."""
    condition = helper.make_tensor_value_info("again", TensorProto.BOOL, [])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["again"], ["still"]),
            helper.make_node("Abs", ["state"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            condition,
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch", SIDE]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["batch", SIDE]),
        ],
    )
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", SIDE]) for name in ("x", "y"))
    nodes = [helper.make_node("Loop", ["rounds", "go", "x"], ["y"], body=body)]
    initial = [
        numpy_helper.from_array(np.array(2**62, np.int64), "rounds"),
        numpy_helper.from_array(np.array(True), "go"),
    ]
    graph = helper.make_graph(nodes, "endless", [x], [y], initial)
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return content


def own_card(content: bytes, *, name: str = "scale", version: str = "1.0.0", **changes: Any) -> dict[str, Any]:
    """A card as a user completes the draft of it."""
    return draft_card(content, name=name, version=version, task="Scales", licence="CC0-1.0") | changes


def form(content: bytes, card: dict[str, Any]) -> dict[str, tuple[str, bytes]]:
    """The files of an upload."""
    return {"card": ("card.json", json.dumps(card).encode()), "file": ("model.onnx", content)}
