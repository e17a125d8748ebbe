"""onnxruntime alone, in a loop, in this process: what no server of it can pass."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime

from tests.benchmarks.serving.cases import Case
from tests.benchmarks.serving.rows import BARE, Row
from tests.benchmarks.serving.versions import version_of

BATCHES = (1, 4, 16)


def loop(case: Case, models: Path, *, repeat: int, threads: int, seconds: float) -> Iterator[Row]:
    """Rows per second at each batch size; threads spin, as is onnxruntime's default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(case.file(models).read_bytes(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for batch in BATCHES:
        inputs = {name: np.random.default_rng(0).random((batch, *case.row), dtype=np.float32)}
        session.run(None, inputs)
        times, began, cpu = [], time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            last = time.perf_counter()
            session.run(None, inputs)
            times.append(time.perf_counter() - last)
        took, count = time.perf_counter() - began, batch * len(times)
        p50, p95, p99 = (float(value) * 1e3 for value in np.percentile(times, (50, 95, 99)))
        yield Row(
            repeat, BARE, case.name, case.route, batch, count / took, p50, p95, p99,
            cpu_ms=(time.process_time() - cpu) / count * 1e3, version=version_of(None),
        )  # fmt: skip
