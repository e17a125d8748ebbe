"""What a film costs the chest X-ray model beside frozen features of ImageNet's network: graphs in onnxruntime.

Both see the same prepared film, drawn at random, since neither depends on what is on it.
"""

from __future__ import annotations

import numpy as np
import pytest

from services.declarations import SERVICES
from services.medical.chest_xray.evaluation.latency import measure_latency
from services.medical.chest_xray.evaluation.subjects import OnnxFilms
from shared.runtime.models.registry import newest_folder
from tests.benchmarks.reporting import ROUNDS, show

MODELS = SERVICES / "medical" / "models"
NAME = "chest-xray-attention"
OFTENER = 2


def test_a_film_beside_frozen_features(capsys: pytest.CaptureFixture[str]) -> None:
    file = newest_folder(MODELS, NAME) / "model.onnx"
    film = np.random.default_rng(0).random((1, *OnnxFilms(file).size)).astype(np.float32)
    rows = []
    for threads in (1, 2):
        found = measure_latency(file, film, threads=threads, rounds=OFTENER * ROUNDS)
        rows.append(
            {
                "threads": threads,
                "p50 ms": found["p50_ms"],
                "p95 ms": found["p95_ms"],
                "times ImageNet features": found["times_baseline"],
                "first run ms": found["first_ms"],
                "to open ms": found["open_ms"],
            }
        )
    show(capsys, "Chest X-ray, one film", rows)
    assert all(row["p50 ms"] > 0 for row in rows)
