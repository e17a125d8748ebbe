"""Does a map change when the weights do (Adebayo et al. 2018): weights are shuffled from the head downwards."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

DEPTHS = (0.1, 0.4, 0.7, 1.0)
"""Shares of the layers, from the head down, whose weights are shuffled."""


def randomised(model: onnx.ModelProto, depth: float, *, seed: int = 0) -> onnx.ModelProto:
    """A copy whose topmost layers have their weights shuffled within each tensor, so that their distribution stays.

    Args:
        model: a classifier.
        depth: share of the weight tensors, from the last on; at least one.
        seed: of the shuffles.
    """
    other = onnx.ModelProto()
    other.CopyFrom(model)
    random = np.random.default_rng(seed)
    # The exporter stores weights in any order: the nodes say which is the last.
    kinds = {"Conv", "Gemm", "MatMul"}
    order = [name for node in other.graph.node if node.op_type in kinds for name in node.input[1:2]]
    kernels = {item.name: item for item in other.graph.initializer}
    for name in order[len(order) - max(1, round(depth * len(order))) :]:
        values = numpy_helper.to_array(kernels[name])
        shuffled = random.permuted(values.ravel()).reshape(values.shape)
        kernels[name].CopyFrom(numpy_helper.from_array(shuffled, name))
    return other
