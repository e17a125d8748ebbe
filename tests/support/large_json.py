"""Requests for inference with ten megabytes of numbers, or a hundred thousand texts, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
from onnx import helper

from shared.inference_protocol.datatypes import BYTES
from tests.support.graphs import release_graph

SIDE = 720
TEXTS = [f'text {number}, "quoted"' for number in range(100_000)]


def numbers_of() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Random numbers, float32 (`SIDE`, `SIDE`)."""
    return np.random.default_rng(0).random((SIDE, SIDE), np.float32)


def body_of(numbers: np.ndarray[tuple[int, int], np.dtype[np.float32]], *, nested: bool) -> bytes:
    """A request with them, as a flat list or a nested one."""
    data = numbers.tolist() if nested else numbers.reshape(-1).tolist()
    entry = {"name": "x", "datatype": "FP32", "shape": list(numbers.shape), "data": data}
    return orjson.dumps({"inputs": [entry]})


def texts_body() -> bytes:
    """A request with `TEXTS`."""
    return orjson.dumps({"inputs": [{"name": "x", "datatype": BYTES, "shape": [len(TEXTS)], "data": TEXTS}]})


def release_one(folder: Path, operator: str, dtype: str, sides: Sequence[str]) -> str:
    """Release the model `same` of one operator into a folder of models, which is returned."""
    node = helper.make_node(operator, ["x"], ["y"])
    release_graph(
        folder / "perception", "same", [node], inputs=[("x", dtype, [*sides])], outputs=[("y", dtype, [*sides])]
    )
    return str(folder)
