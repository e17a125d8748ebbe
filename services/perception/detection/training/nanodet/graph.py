"""NanoDet-g as one ONNX graph with the contract of the project's own detectors (`optimisation.exporting`).

Whatever depends on the size of a picture is computed in the graph, so it takes any height and width that are multiples
of 32, where the published graph takes one size. That one is what this one is compared with (`reference`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from services.perception.detection.optimisation.exporting import OPSET, REGIONS
from services.perception.detection.training.nanodet.decoding import write_regions
from services.perception.detection.training.nanodet.layers import CLASSES, STRIDES, LayerWriter
from services.perception.detection.training.nanodet.published import Convolution
from shared.detectors.roles import BOXES, IMAGE, SCORES

MEAN: Final = (123.675, 116.28, 103.53)
DEVIATION: Final = (58.395, 57.12, 57.375)
"""Of levels from 0 to 255, red, green, blue; the author states blue first."""

LARGEST_STRIDE: Final = STRIDES[-1]
_WHITE: Final = 255


def build(convolutions: Sequence[Convolution], *, dtype: type[np.floating[Any]] = np.float16) -> onnx.ModelProto:
    """The detector: `image` to `boxes` and `scores`, for height and width that are multiples of 32.

    Args:
        convolutions: the published ones, in their order.
        dtype: that weights are stored in; the published ones are of half precision themselves.
    """
    writer = LayerWriter(convolutions, dtype=dtype)
    maps = writer.pyramid(writer.backbone(_normalised(writer)))
    write_regions(writer, IMAGE, writer.heads(maps), maps)
    graph = helper.make_graph(
        writer.nodes,
        "nanodet-g",
        [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [1, 3, "height", "width"])],
        [
            helper.make_tensor_value_info(BOXES, TensorProto.FLOAT, [REGIONS, 4]),
            helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, [REGIONS, CLASSES]),
        ],
        writer.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def normalise(image: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What the graph does first, but with blue in front, as the published graph wants it; (1, 3, height, width)."""
    mean, deviation = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    normalised: np.ndarray[Any, np.dtype[np.float32]] = ((image * _WHITE - mean) / deviation)[:, ::-1]
    return np.ascontiguousarray(normalised)


def _normalised(writer: LayerWriter) -> str:
    mean, deviation = (np.array(values, np.float32).reshape(1, 3, 1, 1) / _WHITE for values in (MEAN, DEVIATION))
    centred = writer.node("Sub", IMAGE, writer.constant("mean", mean), name="centred")
    return writer.node("Div", centred, writer.constant("deviation", deviation), name="normalised")
