"""The network as an ONNX file of half-precision weights that is computed in single precision.

The graph is written node by node, not traced: so the torch network it is compared with is a second one. Batch
normalisation is folded in double precision, and padding stands in the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor

from services.optimisation.efficientnet_lite import (
    CLASSES,
    EPSILON,
    SIDE,
    STAGES,
    STEM,
    Stage,
    same_padding,
)
from services.perception.training.graphs import GraphWriter

OPSET = 18
INPUT, OUTPUT = "pictures", "logits"


class LayerWriter(GraphWriter):
    """Adds layers to a graph.

    Args:
        state: the published weights by key.
        dtype: that weights are stored in, float16 or float32.
    """

    def __init__(self, state: Mapping[str, Tensor], *, dtype: type[np.floating[Any]] = np.float16) -> None:
        super().__init__(dtype=dtype)
        self._state = state

    def convolution(self, source: str, size: int, *, key: str, norm: str, stride: int = 1, groups: int = 1) -> str:
        """A convolution with its batch normalisation."""
        scale, shift, mean, variance = (
            self._value(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / np.sqrt(variance + EPSILON)
        weight = self._value(f"{key}.weight") * factor[:, None, None, None]
        kernel = weight.shape[2]
        before, after = same_padding(size, kernel, stride)
        names = self.store(f"{key}.weight", weight), self.store(f"{key}.bias", shift - mean * factor)
        attributes = {"kernel_shape": [kernel, kernel], "pads": [before, before, after, after]}
        return self.node("Conv", source, *names, name=key, strides=[stride, stride], group=groups, **attributes)

    def clip(self, source: str) -> str:
        """ReLU6."""
        return self.node("Clip", source, "zero", "six", name=f"{source}.relu6")

    def block(self, source: str, size: int, *, name: str, stage: Stage, stride: int, inputs: int) -> str:
        """An inverted residual."""
        found, inner = source, inputs * stage.expansion
        if stage.expansion != 1:
            found = self.clip(self.convolution(found, size, key=f"{name}._expand_conv", norm=f"{name}._bn0"))
        depthwise = {"key": f"{name}._depthwise_conv", "norm": f"{name}._bn1"}
        found = self.clip(self.convolution(found, size, stride=stride, groups=inner, **depthwise))
        found = self.convolution(found, -(-size // stride), key=f"{name}._project_conv", norm=f"{name}._bn2")
        if stride == 1 and inputs == stage.outputs:
            return self.node("Add", found, source, name=f"{name}.sum")
        return found

    def linear(self, source: str, *, key: str, name: str) -> str:
        """A linear layer."""
        names = (self.store(f"{key}.{part}", self._value(f"{key}.{part}")) for part in ("weight", "bias"))
        return self.node("Gemm", source, *names, name=name, transB=1)

    def _value(self, key: str) -> NDArray[np.float64]:
        return self._state[key].numpy().astype(np.float64)


def build(state: Mapping[str, Tensor], *, dtype: type[np.floating[Any]] = np.float16) -> onnx.ModelProto:
    """The classifier from pictures in [0, 1], (batch, 3, 224, 224), to logits (batch, 1000)."""
    writer = LayerWriter(state, dtype=dtype)
    writer.number("zero", 0.0)
    writer.number("six", 6.0)
    centred = writer.node("Sub", INPUT, writer.number("mean", 127 / 255), name="centred")
    found = writer.node("Div", centred, writer.number("deviation", 128 / 255), name="normalised_picture")
    found, size = writer.clip(writer.convolution(found, SIDE, key="_conv_stem", norm="_bn0", stride=2)), SIDE // 2
    inputs, count = STEM, 0
    for stage in STAGES:
        for index in range(stage.blocks):
            stride = stage.stride if index == 0 else 1
            found = writer.block(found, size, name=f"_blocks.{count}", stage=stage, stride=stride, inputs=inputs)
            inputs, count, size = stage.outputs, count + 1, -(-size // stride)
    found = writer.clip(writer.convolution(found, size, key="_conv_head", norm="_bn1"))
    flat = writer.node("Flatten", writer.node("GlobalAveragePool", found, name="pooled"), name="flat")
    writer.linear(flat, key="_fc", name=OUTPUT)
    graph = helper.make_graph(
        writer.nodes,
        "efficientnet-lite0",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", CLASSES])],
        writer.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model
