"""Models for the Open Inference Protocol, a few nodes each: every datatype, strings, versions, and ways to fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shared.runtime.cards import CARD_FILE, ModelCard
from tests.support.tiny_models import card_of

Tensor = tuple[str, str, list[str | int]]
"""Name, dtype as cards say it, and shape."""

TABLE: NDArray[np.float32] = np.arange(32, dtype=np.float32).reshape(8, 4)
"""What the model "embedding" looks up: indices from -8 to 7 have a row."""

_KINDS = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}


def release_graph(
    models: Path,
    name: str,
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    constants: dict[str, NDArray[Any]] | None = None,
    version: str = "1.0.0",
) -> None:
    """Write a graph and a card that describes it to `<models>/<name>/<version>/`."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(one, _KINDS[dtype], shape) for one, dtype, shape in inputs],
        [helper.make_tensor_value_info(one, _KINDS[dtype], shape) for one, dtype, shape in outputs],
        [numpy_helper.from_array(array, one) for one, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    folder = models / name / version
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content)
    tensors = {"inputs": list(map(_described, inputs)), "outputs": list(map(_described, outputs))}
    card = ModelCard.model_validate(card_of(content, name=name, version=version, **tensors))
    (folder / CARD_FILE).write_text(card.model_dump_json())


def _described(tensor: Tensor) -> dict[str, Any]:
    name, dtype, shape = tensor
    return {"name": name, "dtype": dtype, "shape": shape, "unit": "1", "range": None, "description": "-"}


def release_protocol_models(models: Path) -> None:
    """Write all of these models."""
    _times(models, 2, "1.0.0")
    _times(models, 3, "2.0.0")
    _embedding(models)
    _texts(models)
    _mixed(models)
    _fixed(models)
    _eights(models)


def _times(models: Path, factor: int, version: str) -> None:
    """Multiplies by the number of its version, plus one."""
    release_graph(
        models,
        "times",
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        inputs=[("x", "float32", ["batch", 4])],
        outputs=[("y", "float32", ["batch", 4])],
        constants={"factor": np.array(factor, np.float32)},
        version=version,
    )


def _embedding(models: Path) -> None:
    """Rows of TABLE; an index that is none makes onnxruntime fail."""
    release_graph(
        models,
        "embedding",
        [helper.make_node("Gather", ["table", "index"], ["row"])],
        inputs=[("index", "int64", ["batch"])],
        outputs=[("row", "float32", ["batch", 4])],
        constants={"table": TABLE},
    )


def _texts(models: Path) -> None:
    release_graph(
        models,
        "texts",
        [
            helper.make_node("Identity", ["text"], ["same"]),
            helper.make_node("StringConcat", ["text", "mark"], ["louder"]),
        ],
        inputs=[("text", "string", ["batch", "words"])],
        outputs=[("same", "string", ["batch", "words"]), ("louder", "string", ["batch", "words"])],
        constants={"mark": np.array("!", object)},
    )


def _mixed(models: Path) -> None:
    release_graph(
        models,
        "mixed",
        [
            helper.make_node("Add", ["whole", "whole"], ["double"]),
            helper.make_node("Neg", ["half"], ["negative"]),
            helper.make_node("Not", ["flag"], ["opposite"]),
            helper.make_node("Cast", ["flag"], ["number"], to=TensorProto.UINT8),
        ],
        inputs=[
            ("whole", "int64", ["batch", 2]),
            ("half", "float16", ["batch", 3]),
            ("flag", "bool", ["batch"]),
        ],
        outputs=[
            ("double", "int64", ["batch", 2]),
            ("negative", "float16", ["batch", 3]),
            ("opposite", "bool", ["batch"]),
            ("number", "uint8", ["batch"]),
        ],
    )


def _fixed(models: Path) -> None:
    """Has no batch: 2x3 transposed."""
    release_graph(
        models,
        "fixed",
        [helper.make_node("Transpose", ["x"], ["y"])],
        inputs=[("x", "float32", [2, 3])],
        outputs=[("y", "float32", [3, 2])],
    )


def _eights(models: Path) -> None:
    """Cuts what comes into eights; onnxruntime fails where that leaves a rest."""
    release_graph(
        models,
        "eights",
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        inputs=[("x", "float32", ["height", "width"])],
        outputs=[("y", "float32", ["rows", 8])],
        constants={"shape": np.array([-1, 8], np.int64)},
    )
