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


def takes_images() -> bool:
    """Whether requests carry an image file rather than raw float32."""
    return os.environ["BENCH_ROUTE"] == "image"


def decode(file: bytes, *, height: int, width: int) -> Array:
    """RGB float32 in [0, 1], (3, height, width), of an image file.

    Scaled by bilinear sampling without smoothing, or where both sides become less than half, averaged over area.
    """
    with Image.open(io.BytesIO(file)) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    rows, columns = pixels.shape[:2]
    channels = pixels.transpose(2, 0, 1) / np.float32(255)
    if (rows, columns) == (height, width):
        return channels
    if rows > 2 * height and columns > 2 * width:
        averaged: Array = _shares(rows, height) @ channels @ _shares(columns, width).T
        return averaged
    scale = (columns / width, 0.0, 0.0, 0.0, rows / height, 0.0)
    return np.stack([
        np.asarray(
            Image.fromarray(channel).transform(
                (width, height), Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR
            )
        )
        for channel in np.ascontiguousarray(channels)
    ])  # fmt: skip


def _shares(have: int, want: int) -> Array:
    """How much of each new pixel, by rows, is covered by each old one."""
    ends, places = np.linspace(0, have, want + 1)[:, None], np.arange(have)[None]
    covered = np.minimum(places + 1, ends[1:]) - np.maximum(places, ends[:-1])
    shares: Array = (np.maximum(covered, 0) * (want / have)).astype(np.float32)
    return shares


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
        if takes_images():
            return decode(body, height=self.shape[1], width=self.shape[2])
        return np.frombuffer(body, "<f4").reshape(self.shape)

    def run(self, rows: Array) -> Array:
        """(rows, classes) of (rows, *shape)."""
        answer: Array = self._session.run(None, {self._name: np.ascontiguousarray(rows, dtype=np.float32)})[0]
        return answer
