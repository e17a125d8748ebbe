"""How long an event loop stands still at worst while large JSON is read, beside one that parses it at once."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from services.perception.app import create_app
from tests.benchmarks.reporting import ROUNDS, show
from tests.integration.protocol.conftest import settings_of
from tests.support.large_json import TEXTS, body_of, numbers_of, release_one, texts_body
from tests.support.serving import running, until_models_are_open


async def longest_stall(work: Coroutine[Any, Any, object]) -> float:
    """Seconds that a short sleep took, at worst, while something was done."""
    task, worst = asyncio.create_task(work), 0.0
    while not task.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - began)
    await task
    return worst


async def parse_at_once(body: bytes) -> None:
    """What a loop does that reads a request by itself."""
    await asyncio.sleep(0.002)  # until the watch is kept
    np.array(orjson.loads(body)["inputs"][0]["data"])


async def ask(client: httpx.AsyncClient, body: bytes) -> None:
    """A refusal would be quick, and no measurement."""
    answer = await client.post("/v2/models/same/infer", content=body)
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["numbers", "nested numbers", "texts"])
async def test_a_loop_beside_large_json(
    redis_url: str, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = kind == "texts"
    operator, dtype, sides = ("Identity", "string", ["rows"]) if texts else ("Neg", "float32", ["height", "width"])
    models = release_one(tmp_path / "models", operator, dtype, sides)
    body = texts_body() if texts else body_of(numbers_of(), nested=kind == "nested numbers")
    served, at_once = list[float](), list[float]()
    async with running(create_app(settings_of(tmp_path, redis_url, models=models))) as client:
        await until_models_are_open(client)
        for _ in range(ROUNDS):
            served.append(await longest_stall(ask(client, body)))
            at_once.append(await longest_stall(parse_at_once(body)))
    ratio = statistics.median(ours / theirs for ours, theirs in zip(served, at_once, strict=True))
    rows = [
        {"who reads": "the service", "stall, ms": 1000 * statistics.median(served), "of at once": ratio},
        {"who reads": "the loop, at once", "stall, ms": 1000 * statistics.median(at_once), "of at once": 1.0},
    ]
    what = f"{len(TEXTS)} texts" if texts else kind
    show(capsys, f"{len(body) / 1e6:.1f} MB of {what} as JSON", rows)
