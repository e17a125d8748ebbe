"""Requests for inference with ten megabytes of numbers, or a hundred thousand texts, as JSON."""

from __future__ import annotations

import numpy as np
import orjson

from shared.inference_protocol.datatypes import BYTES

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
