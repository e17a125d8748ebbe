"""Models of chest films small enough to write down, whose answers are known: released into a folder, or uploaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from services.medical.chest_xray.models import RELEASED
from services.medical.chest_xray.roles import (
    ATTENTION,
    CLASSES,
    EVIDENCE,
    FILM,
    FRONTAL,
    LOGITS,
    OPACITY,
    OUTPUTS,
    PARAMETER,
)
from shared.runtime.cards import ModelCard
from tests.support.capability import write_model

SIZE = (80, 64)
"""Height and width that the model sees."""

GAIN = 24.0
"""Attention is the soft-max of so many times the brightness."""

SYMMETRY = (4.0, 40.0)
"""The logit `frontal` is the first minus the second times the mean difference from the mirrored film."""

COARSE = 8
"""Pixels of a side that one value of evidence stands for."""

HALVES_TO_LOGITS = np.array([[-1.0, 3.0, -2.0], [-1.0, -2.0, 3.0]], np.float32)
LOGITS_BIAS = np.array([1.0, 0.0, 0.0], np.float32)
CLASS_SIGNS = np.array([-1.0, 1.0, 2.0], np.float32)
"""Evidence of a class is so many times the brightness above a half."""


def symmetric_model(size: tuple[int, int] = SIZE) -> bytes:
    """An ONNX file with the inputs and outputs of a model of chest films.

    Logits are linear in the brightness of the left and right half, the opacity is their sum, attention follows the
    brightness of each pixel, and a film is frontal where it is symmetric.
    """
    height, width = size
    nodes = [
        helper.make_node("AveragePool", [FILM], ["halves"], kernel_shape=[height, width // 2], strides=[1, width // 2]),
        helper.make_node("Reshape", ["halves", "pair"], ["features"]),
        helper.make_node("Gemm", ["features", "weights", "bias"], [LOGITS]),
        helper.make_node("ReduceSum", ["features", "last"], [OPACITY], keepdims=0),
        helper.make_node("Reshape", [FILM, "flat"], ["pixels"]),
        helper.make_node("Mul", ["pixels", "gain"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=1),
        helper.make_node("Reshape", ["shares", "grid"], [ATTENTION]),
        helper.make_node("AveragePool", [FILM], ["coarse"], kernel_shape=[COARSE] * 2, strides=[COARSE] * 2),
        helper.make_node("Sub", ["coarse", "half"], ["above"]),
        helper.make_node("Mul", ["above", "signs"], [EVIDENCE]),
        helper.make_node("Slice", [FILM, "from", "to", "across", "backwards"], ["mirrored"]),
        helper.make_node("Sub", [FILM, "mirrored"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("ReduceMean", ["distance"], ["mean_distance"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean_distance", "slope"], ["loss"]),
        helper.make_node("Sub", ["most", "loss"], [FRONTAL]),
    ]
    constants = {
        "pair": np.array([-1, 2], np.int64),
        "flat": np.array([-1, height * width], np.int64),
        "grid": np.array([-1, height, width], np.int64),
        "last": np.array([1], np.int64),
        "across": np.array([3], np.int64),
        "from": np.array([-1], np.int64),
        "to": np.array([-width - 1], np.int64),
        "backwards": np.array([-1], np.int64),
        "weights": HALVES_TO_LOGITS,
        "bias": LOGITS_BIAS,
        "gain": np.array(GAIN, np.float32),
        "half": np.array(0.5, np.float32),
        "signs": CLASS_SIGNS.reshape(1, 3, 1, 1),
        "most": np.array(SYMMETRY[0], np.float32),
        "slope": np.array(SYMMETRY[1], np.float32),
    }
    return _model(nodes, constants, size, (height // COARSE, width // COARSE))


def constant_model(size: tuple[int, int] = SIZE, **answers: ArrayLike) -> bytes:
    """An ONNX file that answers each film the same, one thing of which may be wrong.

    Args:
        size: height and width that it sees.
        answers: by the name of an output, without the axis of films; in place of what is right.
    """
    right: dict[str, ArrayLike] = {
        LOGITS: np.zeros(len(CLASSES)),
        OPACITY: 0.0,
        ATTENTION: np.full(size, 1 / (size[0] * size[1])),
        EVIDENCE: np.zeros((len(CLASSES), 2, 2)),
        FRONTAL: 1.0,
    }
    arrays = {name: np.asarray(value, np.float32) for name, value in (right | answers).items()}
    nodes = [
        helper.make_node("ReduceMean", [FILM], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    constants: dict[str, Any] = {"zero": np.array(0, np.float32)}
    for name, array in arrays.items():
        shape = [-1, *[1] * array.ndim]
        constants |= {f"{name}_answer": array[None], f"{name}_shape": np.array(shape, np.int64)}
        nodes += [
            helper.make_node("Reshape", ["nothing", f"{name}_shape"], [f"{name}_nothing"]),
            helper.make_node("Add", [f"{name}_answer", f"{name}_nothing"], [name]),
        ]
    return _model(nodes, constants, size, arrays[EVIDENCE].shape[1:], attention=arrays[ATTENTION].shape)


def _model(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, Any],
    size: Sequence[int],
    coarse: Sequence[int],
    *,
    attention: Sequence[int] | None = None,
) -> bytes:
    shapes = {
        LOGITS: [len(CLASSES)],
        OPACITY: [],
        ATTENTION: list(attention or size),
        EVIDENCE: [len(CLASSES), *coarse],
        FRONTAL: [],
    }
    film = helper.make_tensor_value_info(FILM, TensorProto.FLOAT, ["batch", 1, *size])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shapes[name]]) for name in OUTPUTS]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "chest-films", [film], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def chest_card(
    content: bytes, *, name: str = RELEASED, version: str = "1.0.0", caveats: Sequence[str] = (), **role: Any
) -> dict[str, Any]:
    """A complete card as JSON.

    Args:
        content: of the ONNX file, whose inputs and outputs it describes.
        name: of the model.
        version: of it.
        caveats: of its answers.
        role: in place of, or beside, what fits `symmetric_model`.
    """
    graph = onnx.load_model_from_string(content).graph
    inputs, outputs = ([_tensor(one) for one in values] for values in (graph.input, graph.output))
    stated = {
        "classes": list(CLASSES),
        "size": inputs[0]["shape"][2:],
        "frontal_threshold": 0.0,
        "false_refusal_rate": 0.025,
        "false_refusal_data": "films drawn for tests",
        **role,
    }
    return {
        "name": name,
        "version": version,
        "task": "Diagnosis of chest films, for tests",
        "paper": {"title": "-", "authors": "-", "url": "-"},
        "licence": "Apache-2.0",
        "inputs": inputs,
        "outputs": outputs,
        "weights": {"file": "model.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "training": {"data": ["no film"], "procedure": "-", "seed": 0, "machine": "-", "hours": 0, "command": "-"},
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


def release_chest_model(models: Path, content: bytes | None = None, **card: Any) -> str:
    """Write a model with its card to `<models>/<name>/<version>/`; sha256 of its file."""
    content = symmetric_model() if content is None else content
    return write_model(models, ModelCard.model_validate(chest_card(content, **card)), content)
