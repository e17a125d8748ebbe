"""Classifiers of pictures to upload: small, and such that explanations have rules for all of their parts, or not."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CLASSES = 32, 4


def classifier(*, seed: int = 0, squash: bool = False, channels: int = 8) -> bytes:
    """An ONNX file: a convolution, ReLU (or a sigmoid, which has no rule), global pooling, a linear layer.

    `pictures` float32 (batch, 3, 32, 32) in, `logits` float32 (batch, 4) out.
    """
    random = np.random.default_rng(seed)
    constants = {
        "kernel": random.normal(0, 0.3, (channels, 3, 3, 3)).astype(np.float32),
        "shift": random.normal(0, 0.1, channels).astype(np.float32),
        "head": random.normal(0, 1, (CLASSES, channels)).astype(np.float32),
        "bias": random.normal(0, 0.1, CLASSES).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pictures", "kernel", "shift"], ["a"], name="look", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid" if squash else "Relu", ["a"], ["b"], name="bend"),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "head", "bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def card_of(content: bytes, *, name: str, version: str = "1.0.0", **parameters: Any) -> dict[str, Any]:
    """Its card, with nothing measured."""
    tensor = {"dtype": "float32", "unit": "1", "range": None, "description": "-"}
    return {
        "name": name,
        "version": version,
        "task": "Classification, for tests",
        "licence": "Apache-2.0",
        "inputs": [tensor | {"name": "pictures", "shape": ["batch", 3, SIDE, SIDE]}],
        "outputs": [tensor | {"name": "logits", "shape": ["batch", CLASSES]}],
        "weights": {"file": "model.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "parameters": parameters,
    }


def upload_form(content: bytes, card: dict[str, Any]) -> dict[str, Any]:
    """The files of a POST to /v1/models."""
    return {"file": ("model.onnx", content), "card": ("card.json", json.dumps(card), "application/json")}
