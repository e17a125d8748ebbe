"""Exported graphs with weights that are stored in half precision and computed with in single."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_SMALL: Final = 256
"""Elements of a tensor that is stored in single precision whatever the others are."""


def halve_weights(content: bytes) -> bytes:
    """The same graph with its larger weights in half precision, which nodes that onnxruntime folds away widen again."""
    model = onnx.load_model_from_string(content)
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > _SMALL:
            half = f"{tensor.name}_half"
            casts.append(helper.make_node("Cast", [half], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    halved: bytes = model.SerializeToString()
    return halved
