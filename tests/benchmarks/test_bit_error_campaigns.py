"""Images per second of a campaign, from its first step to its report, beside a bare loop over perturbed weights.

The loop is the natural code: for each seed write the perturbed weights into the model, open a session, run the batches.
Both take turns, so that other load falls on both alike; the campaign is the job of a worker process, its checkpoints,
progress and report included.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from services.security.bit_error_campaigns.demo import SIDE, shape_classifier
from services.security.bit_errors.faults import FaultModel
from services.security.bit_errors.weight_memory import WeightMemory
from tests.benchmarks.reporting import ROUNDS, show
from tests.support.archives import zipped
from tests.support.bit_error_campaigns import Bench, open_bench
from tests.support.capability import png

PERCEPTION = Path(__file__).parents[2] / "services" / "perception" / "models"
TARGET = 0.8
THREADS = 2
TURNS = max(3, ROUNDS // 5)
"""A turn takes ten seconds or more."""

RATE = 0.01

SUBJECTS: dict[str, tuple[Callable[[], bytes], tuple[int, ...], int, int]] = {
    "shapes": (shape_classifier, (1, SIDE, SIDE), 400, 400),
    "traffic-signs": ((PERCEPTION / "traffic-signs/1.0.0/model.onnx").read_bytes, (3, 32, 32), 1000, 8),
    "imagenet-lite0": ((PERCEPTION / "imagenet-lite0/1.0.0/model.onnx").read_bytes, (3, 224, 224), 96, 4),
}
"""Model, shape of its pictures, how many of them, and how many seeds."""


def pictures(shape: tuple[int, ...], count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (count, *shape), np.uint8)


def archive(shape: tuple[int, ...], count: int) -> bytes:
    """The pictures as PNG in one folder."""
    drawn = pictures(shape, count)
    images = [Image.fromarray(one[0] if len(one) == 1 else one.transpose(1, 2, 0)) for one in drawn]
    return zipped({f"0/{number:04d}.png": png(image) for number, image in enumerate(images)})


def bare_loop(content: bytes, batch: NDArray[np.float32], seeds: int) -> float:
    """Seconds of all networks."""
    memory, size = WeightMemory.read(content), max(1, min(128, 2_500_000 // batch[0].size))
    began = time.perf_counter()
    for seed in range(50_000, 50_000 + seeds):
        weights = memory.perturbed(FaultModel(RATE), seed)
        model = onnx.load_model_from_string(content)
        for tensor in model.graph.initializer:
            if tensor.name in weights:
                tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        name = session.get_inputs()[0].name
        for start in range(0, len(batch), size):
            session.run(None, {name: batch[start : start + size]})[0].argmax(axis=1)
    return time.perf_counter() - began


async def campaign(bench: Bench, dataset: bytes, subject: str, own: bytes | None, seeds: int) -> tuple[float, Any]:
    """Seconds of the job, and its result."""
    form = {"rates": str(RATE), "seeds": f"50000-{49_999 + seeds}", "analyses": "curve"}
    job_id = await bench.post(dataset, own, **form, **({} if own else {"model": subject}))
    record = await bench.finish(job_id)
    assert record.result is not None, record.problem
    assert record.started_at is not None
    assert record.finished_at is not None
    return (record.finished_at - record.started_at).total_seconds(), record.result


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_a_campaign_beside_a_bare_loop(
    subject: str, redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read, shape, count, seeds = SUBJECTS[subject]
    content, dataset = read(), archive(shape, count)
    batch = pictures(shape, count).astype(np.float32) / np.float32(255)
    networks = seeds + 2
    loops, jobs, inner, ways = [], [], [], set()
    async with open_bench(redis_url, tmp_path / "blobs", threads=THREADS) as bench:
        with bench.worker():
            await bench.until_attended()
            for _ in range(TURNS):
                loops.append(await asyncio.to_thread(bare_loop, content, batch, seeds) / seeds)
                own = content if subject == "shapes" else None
                seconds, result = await campaign(bench, dataset, subject, own, seeds)
                jobs.append(seconds / networks)
                inner.append(result["execution"]["seconds"] / networks)
                ways.add(result["execution"]["way"])
    ratios = [loop / job for loop, job in zip(loops, jobs, strict=True)]
    rows = [
        {"what": "bare loop", "images/s": count / statistics.median(loops), "of the loop": 1.0},
        {
            "what": "campaign, the whole job",
            "images/s": count / statistics.median(jobs),
            "of the loop": statistics.median(ratios),
        },
        {
            "what": f"campaign, its networks alone ({', '.join(sorted(ways))})",
            "images/s": count / statistics.median(inner),
            "of the loop": statistics.median(loop / one for loop, one in zip(loops, inner, strict=True)),
        },
    ]
    show(
        capsys,
        f"Bit-error campaign, {subject}: {count} pictures, {seeds} seeds, {THREADS} threads, {TURNS} turns each",
        rows,
    )
    assert statistics.median(ratios) >= TARGET
