"""Small classifiers in ONNX, built node by node, for tests of weight memories."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CLASSES = 5
SIDE = 8


def convolutional(dtype: Any = np.float32, *, constants: bool = False, seed: int = 0) -> bytes:
    """Convolution, batch normalisation, ReLU, mean, Gemm; weights of `dtype` behind casts, or in Constant nodes."""
    random = np.random.default_rng(seed)
    weights = {
        "conv.weight": random.normal(0, 0.4, (6, 3, 3, 3)),
        "fc.weight": random.normal(0, 0.6, (CLASSES, 6)),
    }
    nodes, tensors = [], []
    for name, values in weights.items():
        tensor = numpy_helper.from_array(values.astype(dtype), name)
        if constants:
            nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            tensors.append(tensor)
        nodes.append(helper.make_node("Cast", [name], [f"{name}.single"], to=TensorProto.FLOAT))
    for name, scale in (("gamma", 1.0), ("beta", 0.0), ("mean", 0.1), ("variance", 1.0)):
        values = (np.full(6, scale) + random.uniform(0, 0.5, 6)).astype(np.float32)
        tensors.append(numpy_helper.from_array(values, name))
    nodes += [
        helper.make_node("Conv", ["pictures", "conv.weight.single"], ["maps"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["maps", "gamma", "beta", "mean", "variance"], ["normal"], name="bn"),
        helper.make_node("Relu", ["normal"], ["rectified"]),
        helper.make_node("GlobalAveragePool", ["rectified"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "fc.weight.single"], ["logits"], transB=1),
    ]
    return model_of(nodes, tensors, picture_input())


def picture_input() -> onnx.ValueInfoProto:
    """Pictures of three channels."""
    return helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])


def model_of(nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], *inputs: onnx.ValueInfoProto) -> bytes:
    """A checked model with the output `logits`."""
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, "classifier", list(inputs), [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def pictures(count: int, *, seed: int = 3) -> NDArray[np.float32]:
    """Random pictures in [0, 1]: (count, 3, SIDE, SIDE)."""
    return np.random.default_rng(seed).random((count, 3, SIDE, SIDE), np.float32)
