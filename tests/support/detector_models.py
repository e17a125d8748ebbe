"""Detectors small enough to write down, whose boxes are known: released into a folder, or uploaded to a fleet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from shared.detectors.roles import BOXES, IMAGE, PARAMETER, SCORES
from shared.runtime.cards import ModelCard
from tests.support.capability import write_model
from tests.support.processes import until

BRIGHT = 0.75
"""Least value of all channels of a pixel that counts as bright."""


def constant_detector(
    boxes: ArrayLike, scores: ArrayLike, *, sides: Sequence[int | str] = ("height", "width")
) -> bytes:
    """An ONNX file that answers the same whatever it sees.

    Args:
        boxes: (regions, 4) or (regions, classes, 4), in pixels of its input.
        scores: (regions, classes).
        sides: height and width of its input.
    """
    answers = {BOXES: np.asarray(boxes, np.float32), SCORES: np.asarray(scores, np.float32)}
    nodes = [
        helper.make_node("ReduceMean", [IMAGE], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        *(helper.make_node("Add", [f"{name}_answer", "nothing"], [name]) for name in answers),
    ]
    constants = {f"{name}_answer": value for name, value in answers.items()} | {"zero": np.array(0, np.float32)}
    shapes = [list(value.shape) for value in answers.values()]
    return _model(nodes, constants, shapes, sides=sides)


def bright_detector(scores: Sequence[float] = (0.9,)) -> bytes:
    """An ONNX file that answers the box around all bright pixels; an empty one where there are none.

    Args:
        scores: of each class.
    """
    nodes = [
        helper.make_node("ReduceMin", [IMAGE], ["least"], axes=[1], keepdims=0),  # (1, height, width)
        helper.make_node("GreaterOrEqual", ["least", "level"], ["is_bright"]),
        helper.make_node("Cast", ["is_bright"], ["bright"], to=TensorProto.FLOAT),
        helper.make_node("Shape", [IMAGE], ["shape"]),
    ]
    for axis, other in (("x", 1), ("y", 2)):
        nodes += [
            helper.make_node("ReduceMax", ["bright"], [f"{axis}_seen"], axes=[0, other], keepdims=0),
            helper.make_node("Gather", ["shape", f"{axis}_place"], [f"{axis}_count"]),
            helper.make_node("Range", ["start", f"{axis}_count", "step"], [f"{axis}_numbers"]),
            helper.make_node("Cast", [f"{axis}_numbers"], [f"{axis}_from"], to=TensorProto.FLOAT),
            helper.make_node("Cast", [f"{axis}_count"], [f"{axis}_side"], to=TensorProto.FLOAT),
            helper.make_node("Add", [f"{axis}_from", "one"], [f"{axis}_to"]),
            helper.make_node("Mul", [f"{axis}_seen", f"{axis}_to"], [f"{axis}_ends"]),
            helper.make_node("ReduceMax", [f"{axis}_ends"], [f"{axis}_last"], keepdims=1),
            helper.make_node("Sub", [f"{axis}_side", f"{axis}_from"], [f"{axis}_rest"]),
            helper.make_node("Mul", [f"{axis}_seen", f"{axis}_rest"], [f"{axis}_rests"]),
            helper.make_node("ReduceMax", [f"{axis}_rests"], [f"{axis}_most"], keepdims=1),
            helper.make_node("Sub", [f"{axis}_side", f"{axis}_most"], [f"{axis}_first"]),
        ]
    nodes += [
        helper.make_node("Concat", ["x_first", "y_first", "x_last", "y_last"], ["flat"], axis=0),
        helper.make_node("Unsqueeze", ["flat", "axes"], [BOXES]),
        helper.make_node("Identity", ["of_classes"], [SCORES]),
    ]
    constants: dict[str, Any] = {
        "level": np.array(BRIGHT, np.float32),
        "one": np.array(1, np.float32),
        "start": np.array(0, np.int64),
        "step": np.array(1, np.int64),
        "x_place": np.array(3, np.int64),
        "y_place": np.array(2, np.int64),
        "axes": np.array([0], np.int64),
        "of_classes": np.array([scores], np.float32),
    }
    return _model(nodes, constants, [[1, 4], [1, len(scores)]])


def _model(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, Any],
    shapes: Sequence[Sequence[int | str]],
    *,
    sides: Sequence[int | str] = ("height", "width"),
) -> bytes:
    image = helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [1, 3, *sides])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
        for name, shape in zip((BOXES, SCORES), shapes, strict=True)
    ]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "detector", [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def detector_card(
    content: bytes, *, name: str, version: str = "1.0.0", caveats: Sequence[str] = (), **role: Any
) -> dict[str, Any]:
    """A complete card as JSON.

    Args:
        content: of the ONNX file, whose inputs and outputs it describes.
        name: of the model.
        version: of it.
        caveats: of its answers.
        role: in place of, or beside, one class `vehicle` and sides of 96 to 160 pixels.
    """
    stated = {"classes": ["vehicle"], "short_side": 96, "long_side": 160, "score_threshold": 0.25, **role}
    graph = onnx.load_model_from_string(content).graph
    return {
        "name": name,
        "version": version,
        "task": "Detection, for tests",
        "paper": {"title": "-", "authors": "-", "url": "-"},
        "licence": "Apache-2.0",
        "inputs": [_tensor(one) for one in graph.input],
        "outputs": [_tensor(one) for one in graph.output],
        "weights": {"file": "model.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "training": {"data": [], "procedure": "-", "seed": 0, "machine": "-", "hours": 0, "command": "-"},
        "quality": [],
        "parity": {"reference": "-", "max_abs_difference": 0},
        "latency": {"what": "-", "value_ms": 1, "machine": "-", "threads": 1},
        "limits": [],
        "choices": [],
        "parameters": {PARAMETER: stated, "caveats": list(caveats)},
    }


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    sides = [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
    about = {"dtype": "float32", "unit": "1", "range": None, "description": "-"}
    return about | {"name": value.name, "shape": sides}


def release_detector(models: Path, content: bytes, *, name: str, **card: Any) -> str:
    """Write a detector with its card to `<models>/<name>/<version>/`; sha256 of its file."""
    return write_model(models, ModelCard.model_validate(detector_card(content, name=name, **card)), content)


def upload_detector(client: httpx.Client, content: bytes, *, name: str, version: str = "1.0.0", **card: Any) -> None:
    """Upload a detector to a fleet, and wait until it can be asked."""
    described = detector_card(content, name=name, version=version, **card)
    files: dict[str, Any] = {"file": ("model.onnx", content), "card": ("card.json", json.dumps(described))}
    answer = client.post("/v1/models", files=files, data={"domain": "perception"})
    assert answer.status_code in {200, 201}, answer.text
    path = f"/v1/models/{name}/versions/{version}"
    until(lambda: client.get(path).json().get("state") == "ready", said=answer.text)
