"""Folds all of a graph that depends on nothing but the size of its input, by onnxruntime's own optimiser."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from shared.runtime.session_options import session_options


class UnusableGraph(ValueError):
    """A graph that cannot be computed here; the message says why."""


def fold(content: bytes, shape: Sequence[int]) -> onnx.ModelProto:
    """A graph for inputs of one shape.

    Constants are computed, weights that are stored in half precision are as they are computed with, and batch
    normalisation is part of convolutions. Operators stay those of ONNX. Blocks for a tenth of a second.

    Args:
        content: of an ONNX file with one input; one that was uploaded has been verified and prepared
            (`shared.runtime.inspection`), since onnxruntime opens it.
        shape: of the input.

    Raises:
        UnusableGraph: onnxruntime does not open it, or its input has another shape.
    """
    model = onnx.load_model_from_string(content)
    _fix_input(model, shape)
    options = session_options(1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common class of its errors
            raise UnusableGraph(f"onnxruntime does not open it: {error}") from None
        return onnx.load_model(path)


def _fix_input(model: Any, shape: Sequence[int]) -> None:
    weights = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1:
        raise UnusableGraph(f"it has {len(inputs)} inputs, and one is expected")
    sides = inputs[0].type.tensor_type.shape.dim
    stated = [one.dim_value or None for one in sides]
    if len(stated) != len(shape) or any(one not in {None, wanted} for one, wanted in zip(stated, shape, strict=True)):
        raise UnusableGraph(f"its input is {stated}, and it would be given {list(shape)}")
    for side, wanted in zip(sides, shape, strict=True):
        side.dim_value = wanted
    # Shapes of values between may name the same axes; onnxruntime finds them again.
    del model.graph.value_info[:]
