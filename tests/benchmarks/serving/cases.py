"""What is asked: a model, a route, inputs drawn from a seed, and the answer of onnxruntime to each.

Images are decoded by Pillow and scaled by NumPy here, so that no server is compared with code of its own.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]
Route = Literal["tensor", "image"]

PHOTO_SIDE = 512
"""Height and width of the photographs, pixels."""

_PHOTO_QUALITY = 90
_PHOTO_GRAIN = 4.2
"""Standard deviation of the grain, of 255: with it a file takes about 60 kB at this quality."""


@dataclass(frozen=True, slots=True)
class Case:
    """One model by one route.

    Attributes:
        name: of the case.
        model: that is asked.
        route: "tensor", or "image" for a posted file.
        row: shape of one row.
        seconds: of one measured window: long enough for some hundreds of answers of the slowest system that matters.
        media_type: of a posted file.
    """

    name: str
    model: str
    route: Route
    row: tuple[int, ...]
    seconds: float
    media_type: str = "application/octet-stream"

    def file(self, models: Path) -> Path:
        """The ONNX file in a folder that FACET_MODELS names."""
        return models / "perception" / self.model / "1.0.0" / "model.onnx"


CASES: Mapping[str, Case] = {
    case.name: case
    for case in (
        Case("tiny", "tiny", "tensor", (3, 32, 32), 2.0),
        Case("large", "large", "tensor", (3, 224, 224), 4.0),
        Case("traffic-signs", "traffic-signs", "image", (3, 32, 32), 2.0, "image/png"),
        Case("photo", "large", "image", (3, 224, 224), 4.0, "image/jpeg"),
    )
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One request's content and the right answer.

    Attributes:
        row: float32 `Case.row`; of images RGB in [0, 1].
        file: the image as it is posted; empty for tensors.
        answer: float32 (classes,), by onnxruntime.
    """

    row: Array
    file: bytes
    answer: Array


class Reference:
    """onnxruntime in this process: what every server's answers are compared with."""

    def __init__(self, file: Path) -> None:
        self._session: Any = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
        self._name: str = self._session.get_inputs()[0].name

    def answer(self, row: Array) -> Array:
        """(classes,) of one row."""
        answer: Array = self._session.run(None, {self._name: row[None]})[0][0]
        return answer


def draw_samples(case: Case, models: Path, *, count: int) -> list[Sample]:
    """Different inputs, the same in every run, and their answers."""
    reference, random = Reference(case.file(models)), np.random.default_rng(0)
    samples = []
    for _ in range(count):
        if case.route == "image":
            draw = draw_png if case.media_type == "image/png" else draw_photo
            file = draw(random, side=case.row[-1] if draw is draw_png else PHOTO_SIDE)
            row = decode(file, side=case.row[-1])
        else:
            # Shifted as a whole, so that answers differ clearly from sample to sample.
            row, file = (random.standard_normal(case.row) + random.standard_normal()).astype(np.float32), b""
        samples.append(Sample(row, file, reference.answer(row)))
    return samples


def draw_png(random: np.random.Generator, *, side: int) -> bytes:
    """A blurred random picture of `side` x `side` pixels as a PNG file."""
    coarse = random.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((side, side)).save(file, format="PNG")
    return file.getvalue()


def draw_photo(random: np.random.Generator, *, side: int) -> bytes:
    """What is like a photograph to a decoder: shapes of all sizes and grain, `side` x `side` pixels, a JPEG file."""
    picture = np.full((side, side, 3), random.integers(64, 192, 3), dtype=np.float32)
    for cells in (2, 4, 8, 16, 32, 64):
        coarse = random.integers(-128, 128, (cells, cells, 3)).astype(np.float32) * np.float32(2.0 / cells)
        picture += np.stack([_enlarged(coarse[:, :, channel], side) for channel in range(3)], axis=2)
    picture += random.normal(0, _PHOTO_GRAIN, (side, side, 1)).astype(np.float32)
    file = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(file, format="JPEG", quality=_PHOTO_QUALITY)
    return file.getvalue()


def _enlarged(coarse: Array, side: int) -> Array:
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def decode(file: bytes, *, side: int) -> Array:
    """RGB float32 in [0, 1], (3, side, side), of an image file; scaled by area beyond a factor of two."""
    with Image.open(io.BytesIO(file)) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255)
    return np.ascontiguousarray(_sampled(_sampled(pixels, side, axis=0), side, axis=1).transpose(2, 0, 1))


def _sampled(pixels: Array, size: int, *, axis: int) -> Array:
    """Linear interpolation at `size` points along an axis; centres of pixels are at halves, edges are repeated.

    An axis that becomes less than half as long is averaged over the area of each new pixel instead.
    """
    length = pixels.shape[axis]
    if length > 2 * size:
        return _averaged(pixels, size, axis=axis)
    at = np.clip((np.arange(size) + 0.5) * (length / size) - 0.5, 0, length - 1)
    lower = np.floor(at).astype(np.intp)
    upper = np.minimum(lower + 1, length - 1)
    share = (at - lower).astype(np.float32).reshape([-1 if number == axis else 1 for number in range(pixels.ndim)])
    sampled: Array = pixels.take(lower, axis) * (1 - share) + pixels.take(upper, axis) * share
    return sampled


def _averaged(pixels: Array, size: int, *, axis: int) -> Array:
    """Means over `size` equal parts of an axis, as differences of its integral."""
    length = pixels.shape[axis]
    before = np.zeros_like(pixels.take([0], axis), dtype=np.float64)
    integral = np.concatenate([before, pixels.cumsum(axis, dtype=np.float64)], axis)
    ends = np.linspace(0, length, size + 1)
    whole = np.minimum(ends.astype(np.intp), length - 1)
    share = (ends - whole).reshape([-1 if number == axis else 1 for number in range(pixels.ndim)])
    at_ends = integral.take(whole, axis) * (1 - share) + integral.take(whole + 1, axis) * share
    averaged: Array = (np.diff(at_ends, axis=axis) * (size / length)).astype(np.float32)
    return averaged
