"""Calibration on 50,000 x 1,000 and sets of 256 x 1,000, beside TorchCP and MAPIE in their own environment.

Every candidate is a process of the same interpreter that waits for its turn; all take turns in each round, and ratios
are medians over rounds of paired times, so that other load on the machine falls on all alike.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.reporting import ROUNDS, show

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("FACET_ORACLES", ROOT / ".venv-oracles")) / "bin" / "python"
WORKER = "services.uncertainty.conformal.evaluation.reference_comparison.timed_worker"

OURS = "facet2"
NAMES = {"facet2": "Facet, 2 threads", "facet1": "Facet, 1 thread", "torchcp": "TorchCP 1.2.1", "mapie": "MAPIE 1.6.0"}
TARGETS = {"aps": 3.0, "raps": 3.0}
"""Times as fast as the fastest peer. None for THR: that is one exponential of each number and little else in whatever
library. TorchCP takes it in float32 on both cores, ours in float64; of probabilities both only look labels up."""

MEMORY_MIB = 2048

needs_oracles = pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-oracles: make compare-conformal makes it")


class Candidate:
    """A process that calibrates and predicts once for each line."""

    def __init__(self, library: str, score: str, kind: str) -> None:
        command = [str(PYTHON), "-m", WORKER, library, score, kind]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._answer() == "ready"

    def turn(self) -> tuple[float, float]:
        """Seconds of calibration and of prediction."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        calibration, prediction = self._answer().split()
        return float(calibration), float(prediction)

    def peak_mib(self) -> float:
        """Ends the process; its peak memory, inputs and interpreter included."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        peak = float(self._answer())
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert self.process.wait() == 0
        return peak

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def measure(libraries: list[str], score: str, kind: str) -> list[dict[str, Any]]:
    running = {library: Candidate(library, score, kind) for library in libraries}
    times: dict[str, list[tuple[float, float]]] = {library: [] for library in libraries}
    for turn in range(-1, ROUNDS):
        for library, candidate in running.items():
            spent = candidate.turn()
            if turn >= 0:
                times[library].append(spent)
    peaks = {library: candidate.peak_mib() for library, candidate in running.items()}
    seconds = {library: np.array(spent) for library, spent in times.items()}
    ours = seconds[OURS].sum(axis=1)
    return [
        {
            "score": f"{score} of {kind}",
            "candidate": NAMES[library],
            "calibrate ms": float(np.median(spent[:, 0])) * 1e3,
            "predict ms": float(np.median(spent[:, 1])) * 1e3,
            "fastest calibrate ms": float(spent[:, 0].min()) * 1e3,
            "times Facet": float(np.median(spent.sum(axis=1) / ours)),
            "peak MiB": peaks[library],
        }
        for library, spent in seconds.items()
    ]


@needs_oracles
@pytest.mark.parametrize(
    ("score", "kind"), [("thr", "logits"), ("thr", "probabilities"), ("aps", "logits"), ("raps", "logits")]
)
def test_conformal_beside_peers(benchmark: Any, capsys: pytest.CaptureFixture[str], score: str, kind: str) -> None:
    libraries = [name for name in NAMES if not (name == "mapie" and score == "raps")]
    rows = benchmark.pedantic(measure, args=(libraries, score, kind), rounds=1)
    benchmark.extra_info["rows"] = rows
    show(capsys, f"Conformal {score} of {kind}: 50,000 x 1,000 calibrate, 256 x 1,000 predict", rows)
    assert all(row["peak MiB"] < MEMORY_MIB for row in rows if row["candidate"].startswith("Facet"))
    slower = min(row["times Facet"] for row in rows if not row["candidate"].startswith("Facet"))
    assert slower >= TARGETS.get(score, 0), rows
