"""Models small enough to write down: what they answer can be computed by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import scipy.ndimage
from numpy.typing import NDArray
from onnx import TensorProto, helper

from shared.runtime.cards import ModelCard
from tests.support.capability import write_model

_SIZES: list[str | int | None] = ["batch", 1, "height", "width"]
_NODES: dict[str, list[onnx.NodeProto]] = {
    "mean": [
        helper.make_node("AveragePool", ["image"], ["clean"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    ],
    "brighten": [
        helper.make_node("Constant", [], ["axes"], value_ints=[1, 2, 3]),
        helper.make_node("Unsqueeze", ["noise_level", "axes"], ["level"]),
        helper.make_node("Add", ["image", "level"], ["clean"]),
    ],
    "slow": [
        helper.make_node(
            "AveragePool",
            ["image" if number == 0 else f"image_{number}"],
            ["clean" if number == 4999 else f"image_{number + 1}"],
            kernel_shape=[3, 3],
            pads=[1, 1, 1, 1],
        )
        for number in range(5000)
    ],
}


def denoiser(kind: str) -> bytes:
    """An ONNX file: "mean" answers the mean of 3x3 pixels, "slow" that mean 5000 times over, "brighten" the image plus
    its noise level."""
    image, clean = (helper.make_tensor_value_info(name, TensorProto.FLOAT, _SIZES) for name in ("image", "clean"))
    level = helper.make_tensor_value_info("noise_level", TensorProto.FLOAT, ["batch"])
    graph = helper.make_graph(_NODES[kind], kind, [image, level], [clean])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def mean_of_neighbours(image: NDArray[Any]) -> NDArray[np.float64]:
    """What the model "mean" answers, computed by SciPy; borders have fewer neighbours."""
    values = np.asarray(image, dtype=np.float64)
    sums = scipy.ndimage.uniform_filter(values, 3, mode="constant")
    shares = scipy.ndimage.uniform_filter(np.ones_like(values), 3, mode="constant")
    mean: NDArray[np.float64] = sums / shares
    return mean


def card_of(content: bytes, *, name: str = "low-dose-ct", version: str = "1.0.0", **changes: Any) -> dict[str, Any]:
    """A complete card of a denoiser, as JSON."""
    tensor = {"dtype": "float32", "unit": "1", "range": None, "description": "-"}
    card: dict[str, Any] = {
        "name": name,
        "version": version,
        "task": "Denoising",
        "paper": {"title": "-", "authors": "-", "url": "-"},
        "licence": "Apache-2.0",
        "inputs": [
            tensor | {"name": "image", "shape": _SIZES},
            tensor | {"name": "noise_level", "shape": ["batch"]},
        ],
        "outputs": [tensor | {"name": "clean", "shape": _SIZES}],
        "weights": {"file": "model.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "training": {"data": [], "procedure": "-", "seed": 0, "machine": "-", "hours": 0, "command": "-"},
        "quality": [],
        "parity": {"reference": "-", "max_abs_difference": 0},
        "latency": {"what": "-", "value_ms": 1, "machine": "-", "threads": 1},
        "limits": [],
        "choices": [],
    }
    return card | changes


def release(
    models: Path, name: str = "low-dose-ct", version: str = "1.0.0", *, kind: str = "mean", **changes: Any
) -> Path:
    """Write a model with its card to `<models>/<name>/<version>/` and return that folder."""
    content = denoiser(kind)
    write_model(models, ModelCard.model_validate(card_of(content, name=name, version=version, **changes)), content)
    return models / name / version
