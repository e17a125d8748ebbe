"""Accuracies of released classifiers whose weights are read through faulty cells, as the service computes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tqdm import tqdm

from services.security.bit_errors.faults import TEST_SEEDS, FaultModel
from services.security.bit_errors.perturbed_sessions import SessionPerNetwork, Signature
from services.security.bit_errors.weight_memory import WeightMemory
from shared.datasets.traffic_signs import FOLDER, Signs, read_test
from shared.runtime.session_options import session_options

RATES = (0.005, 0.01, 0.02)
"""The paper's two, and one at which the classifiers here lose about as much as the paper's lose at 1 %."""
THREADS = 2
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Of one classifier behind one F, shares of pictures.

    Attributes:
        nominal: without faults.
        low: by bit error rate, of each chip of `TEST_SEEDS`.
    """

    nominal: float
    low: dict[float, list[float]]

    def as_json(self) -> dict[str, object]:
        """Rounded to hundredths of a percent."""
        low = {f"{rate:g}": [round(one, 4) for one in found] for rate, found in self.low.items()}
        return {"nominal": round(self.nominal, 4), "low": low}


class StoredClassifier:
    """A classifier `pictures` -> `logits` with its weights in a memory.

    Args:
        model: ONNX.
    """

    def __init__(self, model: bytes) -> None:
        self._memory = WeightMemory.read(model)
        self._classifier = SessionPerNetwork(model, self._memory, Signature("pictures", "logits"), threads=THREADS)

    def accuracy(
        self, pictures: NDArray[np.float32], classes: NDArray[np.int64], faults: FaultModel | None = None, seed: int = 0
    ) -> float:
        """Share of pictures whose class has the largest logit.

        Args:
            pictures: float32 (count, 3, 32, 32) in [0, 1].
            classes: of them.
            faults: of the memory; None for nominal voltage.
            seed: of the chip.
        """
        memory = self._memory
        self._classifier.load(memory.read_faultless() if faults is None else memory.perturbed(faults, seed))
        right = 0
        for start in range(0, len(pictures), _BATCH):
            found = self._classifier.run(pictures[start : start + _BATCH]).argmax(axis=1)
            right += int((found == classes[start : start + _BATCH]).sum())
        return right / len(pictures)

    def accuracies(self, pictures: NDArray[np.float32], classes: NDArray[np.int64], *, title: str = "") -> Accuracies:
        """At nominal voltage, and on each chip at each rate."""
        chips = tqdm([(rate, seed) for rate in RATES for seed in TEST_SEEDS], desc=title)
        low: dict[float, list[float]] = {rate: [] for rate in RATES}
        for rate, seed in chips:
            low[rate].append(self.accuracy(pictures, classes, FaultModel(rate), seed))
        return Accuracies(self.accuracy(pictures, classes), low)


def transform(fuse: bytes, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """F of all pictures, in [0, 1], by its ONNX file."""
    session = onnxruntime.InferenceSession(fuse, session_options(THREADS), providers=["CPUExecutionProvider"])
    parts = [
        session.run(None, {"pictures": pictures[start : start + _BATCH]})[0]
        for start in range(0, len(pictures), _BATCH)
    ]
    return np.concatenate(parts)


def read_pictures(data: Path, *, every: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The official test set, or each n-th picture of it: float32 (count, 3, 32, 32) in [0, 1], and classes."""
    signs: Signs = read_test(data / FOLDER)
    return signs.tensor()[::every], signs.classes[::every]
