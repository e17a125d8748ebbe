"""What is asked: a model, a route, inputs drawn from a seed, and the answer of onnxruntime to each."""

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
Route = Literal["tensor", "png"]


@dataclass(frozen=True, slots=True)
class Case:
    """One model by one route."""

    model: str
    route: Route
    row: tuple[int, ...]
    """Shape of one row."""
    seconds: float
    """Of one measured window: long enough for some hundreds of answers of the slowest system that matters."""

    def file(self, models: Path) -> Path:
        """The ONNX file in a folder that FACET_MODELS names."""
        return models / "perception" / self.model / "1.0.0" / "model.onnx"


CASES: Mapping[str, Case] = {
    "tiny": Case("tiny", "tensor", (3, 32, 32), 2.0),
    "large": Case("large", "tensor", (3, 224, 224), 4.0),
    "traffic-signs": Case("traffic-signs", "png", (3, 32, 32), 2.0),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One request's content and the right answer.

    Attributes:
        row: float32 `Case.row`; for pictures RGB in [0, 1].
        png: the same as a file, for pictures only.
        answer: float32 (classes,), by onnxruntime.
    """

    row: Array
    png: bytes
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
        if case.route == "png":
            row, png = draw_picture(random, side=case.row[-1])
        else:
            # Shifted as a whole, so that answers differ clearly from sample to sample.
            row, png = (random.standard_normal(case.row) + random.standard_normal()).astype(np.float32), b""
        samples.append(Sample(row, png, reference.answer(row)))
    return samples


def draw_picture(random: np.random.Generator, *, side: int) -> tuple[Array, bytes]:
    """A blurred random picture, float32 (3, side, side) in [0, 1], and its PNG file."""
    coarse = random.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((side, side))
    file = io.BytesIO()
    picture.save(file, format="PNG")
    row = np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
    return np.ascontiguousarray(row), file.getvalue()
