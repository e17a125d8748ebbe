"""What a film costs: opening the model, its first run, and each run after it, beside frozen features of it."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.evaluation.subjects import OnnxFilms
from services.medical.chest_xray.training.frozen_features import WHOLE, FrozenFeatures, feature_graph, read_backbone

ROUNDS: Final = 30

Films = NDArray[np.float32]


def measure_latency(file: Path, film: Films, *, threads: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Milliseconds for one prepared film, rounds of model and baseline alternating.

    Args:
        file: the model.
        film: (1, H, W) in [0, 1].
        threads: of one run.
        rounds: how many.
    """
    began = time.perf_counter()
    model = OnnxFilms(file, threads=threads)
    opened = time.perf_counter()
    model(film)
    first = time.perf_counter()
    baseline = FrozenFeatures(feature_graph(read_backbone(), model.size, WHOLE), threads=threads)
    baseline(film)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_milliseconds(model, film))
        theirs.append(_milliseconds(baseline, film))
    return {
        "threads": threads,
        "open_ms": round(1000 * (opened - began), 1),
        "first_ms": round(1000 * (first - opened), 1),
        "p50_ms": round(statistics.median(ours), 2),
        "p95_ms": round(float(np.quantile(ours, 0.95)), 2),
        "baseline_p50_ms": round(statistics.median(theirs), 2),
        "times_baseline": round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2),
        "load": round(os.getloadavg()[0], 1),
    }


def _milliseconds(run: Callable[[Films], Any], film: Films) -> float:
    began = time.perf_counter()
    run(film)
    return 1000 * (time.perf_counter() - began)
