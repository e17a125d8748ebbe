"""A picture to explain, drawn, no photograph; and a classifier to convert, drawn at random."""

from __future__ import annotations

import io

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE = 128
CLASSES = 4


def stop_sign() -> bytes:
    """PNG of a stop sign on grey."""
    image = Image.new("RGB", (SIDE, SIDE), (104, 118, 124))
    draw, middle = ImageDraw.Draw(image), SIDE / 2
    draw.regular_polygon((middle, middle, 0.44 * SIDE), 8, rotation=22, fill=(180, 25, 35))
    font = ImageFont.load_default(size=0.25 * SIDE)
    draw.text((middle, middle), "STOP", fill=(240, 240, 240), font=font, anchor="mm", stroke_width=1)
    stream = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.8)).save(stream, format="PNG")
    return stream.getvalue()


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
