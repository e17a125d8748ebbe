"""A picture to explain, drawn, no photograph; and a classifier to convert, drawn at random."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from shared.imaging.drawn_signs import PLAIN

CLASSES = 4


def stop_sign() -> bytes:
    """PNG of a stop sign on grey."""
    return PLAIN.png()


def classifier() -> bytes:
    """ONNX of a convolution, ReLU, global pooling and a linear layer with random weights: (batch, 3, 32, 32) in,
    logits (batch, 4) out.
    """
    random = np.random.default_rng(0)
    weights = {
        "kernel": random.normal(0, 0.3, (8, 3, 3, 3)),
        "shift": random.normal(0, 0.1, 8),
        "head": random.normal(0, 1, (CLASSES, 8)),
        "bias": random.normal(0, 0.1, CLASSES),
    }
    nodes = [
        helper.make_node("Conv", ["pictures", "kernel", "shift"], ["convolved"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["convolved"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head", "bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content
