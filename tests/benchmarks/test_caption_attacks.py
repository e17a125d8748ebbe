"""Queries per second of a caption attack, from its first step to its report, beside the bare captioner in a loop.

The loop is the natural code: scale a population, run the encoder, then the decoder word by word until all captions have
ended. Both take turns, so that other load falls on both alike; the attack is the job of a worker process that asks the
perception service over HTTP, with checkpoints before and after each population, progress and report.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from services.perception.captioning.vocabulary import END, START
from services.security.caption_attack.pictures.posted_pictures import read_attacked_picture
from shared.imaging.preprocessing import preprocessing_of
from shared.runtime.cards import read_card
from tests.benchmarks.reporting import ROUNDS, show
from tests.support.capability import png
from tests.support.caption_attacks import open_attack_bench
from tests.support.captioners import mosaic

MODELS = Path(__file__).parents[2] / "services" / "perception" / "models"
SUBJECTS = [name for name in ("captioner-lstm-lite0", "captioner-transformer-lite2") if (MODELS / name).is_dir()]
TARGET = 0.8
THREADS = 2
TURNS = max(3, ROUNDS // 5)
"""A turn takes ten seconds or more."""

QUERIES = 401
POPULATION = 20
MOST_WORDS = 20
SIDE = 112
"""Of the picture: that of the photographs that captioners here were trained on."""


class BareCaptioner:
    """Both graphs of a released captioner, and the least code around them."""

    def __init__(self, name: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        folders = [MODELS / f"{name}-encoder" / "1.0.0", MODELS / name / "1.0.0"]
        self.preprocessing = preprocessing_of(read_card(folders[0]).parameters)
        self.encoder, self.step = (
            onnxruntime.InferenceSession((folder / "model.onnx").read_bytes(), options) for folder in folders
        )
        (self.input,) = self.encoder.get_inputs()
        self.answers = [output.name for output in self.encoder.get_outputs()]
        self.outputs = [output.name for output in self.step.get_outputs()]

    def caption(self, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Greedy words (pictures, words)."""
        _, _, height, width = self.input.shape
        scaled = [self.preprocessing.scale(one, white=255, height=height, width=width) for one in pictures]
        found = self.encoder.run(None, {self.input.name: np.stack(scaled)})
        feed: dict[str, Any] = dict(zip(self.answers, found, strict=True))
        words = [np.full(len(pictures), START, np.int64)]
        ended = np.zeros(len(pictures), bool)
        while len(words) <= MOST_WORDS and not ended.all():
            feed["words"] = words[-1]
            answer: Mapping[str, Any] = dict(zip(self.outputs, self.step.run(None, feed), strict=True))
            words.append(answer["log_probabilities"].argmax(axis=1))
            ended |= words[-1] == END
            feed |= {key.removeprefix("next_"): value for key, value in answer.items() if key.startswith("next_")}
        return np.stack(words, axis=1)


def bare_loop(captioner: BareCaptioner, picture: NDArray[np.uint8]) -> float:
    """Queries per second over populations of changed pictures."""
    rng, began = np.random.default_rng(0), time.perf_counter()
    for _ in range(QUERIES // POPULATION):
        changed = np.repeat(picture[None], POPULATION, axis=0)
        rows, columns = rng.integers(0, SIDE, (2, POPULATION, 94))
        changed[np.arange(POPULATION)[:, None], rows, columns] = rng.integers(0, 256, (POPULATION, 94, 3), np.uint8)
        captioner.caption(changed)
    return QUERIES // POPULATION * POPULATION / (time.perf_counter() - began)


@pytest.mark.skipif(not SUBJECTS, reason="no captioner is released")
@pytest.mark.parametrize("subject", SUBJECTS)
async def test_an_attack_beside_the_bare_captioner(
    subject: str, redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = png(mosaic(0, height=SIDE, width=SIDE))
    picture = read_attacked_picture(content, longest_side=SIDE, pixel_limit=10**6, pointer="")
    captioner, loops, jobs = BareCaptioner(subject), [], []
    form = {
        "model": subject, "queries": str(QUERIES), "arms": "A", "stop_at_goal": "false", "defences": "none",
        "probes": "1",
    }  # fmt: skip
    async with open_attack_bench(redis_url, tmp_path, None, threads=THREADS) as bench:
        with bench.worker():
            await bench.until_attended()
            for _ in range(TURNS):
                loops.append(await asyncio.to_thread(bare_loop, captioner, picture))
                record = await bench.finish(await bench.post(content, **form))
                assert record.result is not None, record.problem
                assert record.started_at is not None
                assert record.finished_at is not None
                seconds = (record.finished_at - record.started_at).total_seconds()
                jobs.append(record.result["report"]["spent"] / seconds)
    ratios = [job / loop for loop, job in zip(loops, jobs, strict=True)]
    rows = [
        {"what": "bare captioner in a loop", "queries/s": statistics.median(loops), "of the loop": 1.0},
        {
            "what": "attack, the whole job",
            "queries/s": statistics.median(jobs),
            "of the loop": statistics.median(ratios),
        },
    ]
    show(capsys, f"Caption attack on {subject}: {QUERIES} queries, {THREADS} threads, {TURNS} turns each", rows)
    assert statistics.median(ratios) >= TARGET
