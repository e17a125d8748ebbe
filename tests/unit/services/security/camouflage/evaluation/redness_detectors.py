"""A detector that is small and real: boxes over the picture, surer the redder what lies in them is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shared.detectors.roles import BOXES, IMAGE, SCORES
from tests.support.detector_models import release_detector

SIDE = 96
_CELLS = 7


def redness_detector(*, sureness: float = 2.0) -> bytes:
    """Its ONNX file.

    Args:
        sureness: logit of a box with nothing red or green in it.
    """
    rows, columns = np.mgrid[:_CELLS, :_CELLS].reshape(2, -1, 1) * 12.0
    boxes = np.clip(np.concatenate((columns - 6, rows + 1, columns + 30, rows + 23), axis=1), 0, SIDE)
    stored = {
        "redness": np.array([1, -0.5, -0.5], np.float32).reshape(1, 3, 1, 1),
        "shape": np.array([_CELLS**2, 1]),
        "slope": np.array(12, np.float32),
        "sureness": np.array(sureness, np.float32),
        "zero": np.array(0, np.float32),
        "places": boxes.astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", [IMAGE, "redness"], ["red"]),
        helper.make_node("AveragePool", ["red"], ["cells"], kernel_shape=[24, 24], strides=[12, 12]),
        helper.make_node("Reshape", ["cells", "shape"], ["flat"]),
        helper.make_node("Mul", ["flat", "slope"], ["steep"]),
        helper.make_node("Add", ["steep", "sureness"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], [SCORES]),
        helper.make_node("Mul", ["flat", "zero"], ["nothing"]),
        helper.make_node("Add", ["places", "nothing"], [BOXES]),
    ]
    graph = helper.make_graph(
        nodes,
        "redness",
        [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(BOXES, TensorProto.FLOAT, [_CELLS**2, 4]),
            helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, [_CELLS**2, 1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def release(models: Path, name: str, *, sureness: float = 2.0) -> None:
    """Write it to a folder of released models."""
    release_detector(models, redness_detector(sureness=sureness), name=name, short_side=SIDE, long_side=SIDE)
