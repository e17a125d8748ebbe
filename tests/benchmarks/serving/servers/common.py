"""What is the same in every server: the session, the tensor of a body, the settings that come from the harness."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

BATCH = 16
"""Most rows of one run, where a product batches."""

Array = NDArray[np.float32]


def ports() -> list[int]:
    """Free ports that the harness found; the first is the one that it asks."""
    return [int(port) for port in os.environ["BENCH_PORTS"].split(",")]


def takes_png() -> bool:
    """Whether requests carry a PNG picture rather than raw float32."""
    return os.environ["BENCH_ROUTE"] == "png"


class Model:
    """The ONNX file that the harness names, with two threads as the machine of the comparison has cores."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["BENCH_THREADS"])
        options.add_session_config_entry("session.intra_op.allow_spinning", os.environ["BENCH_SPINNING"])
        self._session: Any = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self._name: str = self._session.get_inputs()[0].name
        self.shape: tuple[int, ...] = tuple(self._session.get_inputs()[0].shape[1:])
        """Of one row: channels, height, width."""
        self.classes: int = self._session.get_outputs()[0].shape[1]

    def read(self, body: bytes) -> Array:
        """One row, float32 `shape`, of what a client sent."""
        if not takes_png():
            return np.frombuffer(body, "<f4").reshape(self.shape)
        with Image.open(io.BytesIO(body)) as picture:
            pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
        return pixels.transpose(2, 0, 1) / np.float32(255)

    def run(self, rows: Array) -> Array:
        """(rows, classes) of (rows, *shape)."""
        answer: Array = self._session.run(None, {self._name: np.ascontiguousarray(rows, dtype=np.float32)})[0]
        return answer
