"""A model to upload in the README: `python -m services.perception.classification.own_model FOLDER`.

Stands in for a file of the reader's own, which any exporter writes. Needs the onnx package; no service imports this.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COLOURS = ("red", "green", "blue")


def colour_meter(sharpness: float) -> bytes:
    """An ONNX file that says how red, green and blue pictures are, as shares that sum to one.

    Args:
        sharpness: factor before the softmax.

    Returns:
        A graph from `pictures`, float32 in [0, 1], (batch, 3, height, width), to `shares`, float32, (batch, 3).
    """
    pictures = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    shares = helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["batch", len(COLOURS)])
    nodes = [
        helper.make_node("ReduceMean", ["pictures"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["means", "sharpness"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["shares"], axis=1),
    ]
    weights = [numpy_helper.from_array(np.array(sharpness, np.float32), "sharpness")]
    graph = helper.make_graph(nodes, "colour_meter", [pictures], [shares], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def own_models() -> dict[str, bytes]:
    """Two versions of the file by name."""
    return {"colours.onnx": colour_meter(1.0), "colours-sharper.onnx": colour_meter(4.0)}


def main(folder: Path) -> None:
    """Write both into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in own_models().items():
        (folder / name).write_bytes(content)
        sys.stdout.write(f"{folder / name}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
