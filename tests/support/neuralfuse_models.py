"""A classifier with int8 weights and generators for it, drawn at random, and their releases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shared.runtime.cards import ModelCard
from tests.support.capability import write_model
from tests.support.tiny_models import card_of

SIDE, CLASSES, CHANNELS = 32, 6, 8
BASE, GENERATOR, SMALL_GENERATOR = "toy-base", "toy-generator", "toy-generator-small"
LABELS = ["stop", "give way", "no entry", "danger", "children", "roundabout"]

_OPSET = 17


def base_weights(seed: int = 0) -> dict[str, NDArray[Any]]:
    """Constants of the classifier: int8 weights with a scale for each output, float32 biases."""
    random = np.random.default_rng(seed)
    return {
        "kernel": random.integers(-127, 128, (CHANNELS, 3, 3, 3)).astype(np.int8),
        "kernel_scale": random.uniform(0.002, 0.004, CHANNELS).astype(np.float32),
        "kernel_zero": np.zeros(CHANNELS, np.int8),
        "shift": random.normal(0, 0.1, CHANNELS).astype(np.float32),
        "head": random.integers(-127, 128, (CLASSES, CHANNELS)).astype(np.int8),
        "head_scale": np.full(CLASSES, 0.05, np.float32),
        "head_zero": np.zeros(CLASSES, np.int8),
        "bias": random.normal(0, 0.1, CLASSES).astype(np.float32),
    }


def base_model(constants: dict[str, NDArray[Any]] | None = None) -> bytes:
    """ONNX: pictures in [0, 1] to [-1, 1], convolution, ReLU, global pooling, linear layer; weights stored as int8."""
    chosen: dict[str, Any] = (constants or base_weights()) | {"two": np.float32(2), "one": np.float32(1)}
    nodes = [
        helper.make_node("Mul", ["pictures", "two"], ["doubled"]),
        helper.make_node("Sub", ["doubled", "one"], ["centred"]),
        helper.make_node("DequantizeLinear", ["kernel", "kernel_scale", "kernel_zero"], ["w"], axis=0),
        helper.make_node("Conv", ["centred", "w", "shift"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("DequantizeLinear", ["head", "head_scale", "head_zero"], ["v"], axis=0),
        helper.make_node("Gemm", ["d", "v", "bias"], ["logits"], name="last", transB=1),
    ]
    return _model(nodes, ["batch", 3, SIDE, SIDE], ("logits", ["batch", CLASSES]), chosen, opset=_OPSET)


def float_model(*, side: int = SIDE, seed: int = 5) -> bytes:
    """ONNX of the same with weights in single precision and pictures as mean and deviation make them."""
    random = np.random.default_rng(seed)
    constants = {
        "kernel": random.normal(0, 0.3, (CHANNELS, 3, 3, 3)).astype(np.float32),
        "head": random.normal(0, 1, (CLASSES, CHANNELS)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pictures", "kernel"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "head"], ["logits"], transB=1),
    ]
    return _model(nodes, ["batch", 3, side, side], ("logits", ["batch", CLASSES]), constants, opset=13)


def generator_model(*, seed: int = 1, opset: int = 18) -> bytes:
    """ONNX: a convolution of the picture added to it, clipped to [0, 1]."""
    random = np.random.default_rng(seed)
    constants = {
        "kernel": random.normal(0, 0.1, (3, 3, 3, 3)).astype(np.float32),
        "low": np.float32(0),
        "high": np.float32(1),
    }
    nodes = [
        helper.make_node("Conv", ["pictures", "kernel"], ["g"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["pictures", "g"], ["sum"]),
        helper.make_node("Clip", ["sum", "low", "high"], ["transformed"]),
    ]
    open_sides: list[Any] = ["batch", 3, "height", "width"]
    return _model(nodes, open_sides, ("transformed", open_sides), constants, opset=opset)


def _model(
    nodes: list[onnx.NodeProto],
    shape: list[Any],
    output: tuple[str, list[Any]],
    constants: Mapping[str, Any],
    *,
    opset: int,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def base_card(content: bytes, *, name: str = BASE, network: str | None = "vgg11", **parameters: Any) -> ModelCard:
    """Card of a classifier; without a network it has no part in NeuralFuse."""
    side = onnx.load_model_from_string(content).graph.input[0].type.tensor_type.shape.dim[2].dim_value
    part = {} if network is None else {"neuralfuse": {"role": "base", "network": network}}
    return _card(
        content, name, ("pictures", ["batch", 3, side, side]), ("logits", ["batch", CLASSES]), part | parameters
    )


def generator_card(
    content: bytes, base_sha256: str, *, base: str = BASE, name: str = GENERATOR, architecture: str = "UNetL"
) -> ModelCard:
    """Card of a generator for a classifier."""
    open_sides: list[Any] = ["batch", 3, "height", "width"]
    part = {
        "role": "generator",
        "architecture": architecture,
        "base": base,
        "base_sha256": base_sha256,
        "bit_error_rate": 0.01,
        "weight": 5,
        "faults": {"kind": "stuck_at", "layout": "tiled"},
    }
    return _card(content, name, ("pictures", open_sides), ("transformed", open_sides), {"neuralfuse": part})


def _card(
    content: bytes, name: str, given: tuple[str, list[Any]], made: tuple[str, list[Any]], parameters: dict[str, Any]
) -> ModelCard:
    tensor = {"dtype": "float32", "unit": "1", "range": None, "description": "-"}
    return ModelCard.model_validate(
        card_of(
            content,
            name=name,
            task="For tests",
            inputs=[tensor | {"name": given[0], "shape": given[1], "range": (0.0, 1.0)}],
            outputs=[tensor | {"name": made[0], "shape": made[1]}],
            parameters=parameters,
        )
    )


def release_base(models: Path, *, name: str = BASE) -> str:
    """Release the classifier into the folder of a domain; its digest."""
    content = base_model()
    return write_model(models, base_card(content, name=name, classes=LABELS), content)


def release_generators(
    models: Path, base_sha256: str, *, base: str = BASE, names: tuple[str, str] = (GENERATOR, SMALL_GENERATOR)
) -> None:
    """Release two generators for it: of the first the file is larger."""
    large, small = names
    content = generator_model(seed=2)
    write_model(models, generator_card(content, base_sha256, base=base, name=small, architecture="UNetS"), content)
    padded = onnx.load_model_from_string(generator_model())
    padded.doc_string = "larger " * 20
    content = padded.SerializeToString()
    write_model(models, generator_card(content, base_sha256, base=base, name=large), content)
