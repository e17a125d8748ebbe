"""While a service reads and writes large JSON, it answers others: its event loop is not held up."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest
from onnx import helper

from services.perception.app import create_app
from tests.integration.protocol.conftest import settings_of
from tests.support.graphs import release_graph
from tests.support.serving import running, until_models_are_open

SIDE = 720
ROUNDS = 4


def body_of(numbers: np.ndarray[tuple[int, int], np.dtype[np.float32]], *, nested: bool) -> bytes:
    data = numbers.tolist() if nested else numbers.reshape(-1).tolist()
    return orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [SIDE, SIDE], "data": data}]})


def seconds_at_once(body: bytes) -> float:
    """What the loop would stand still for if it parsed the body itself, in the quickest of a few tries."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        np.array(orjson.loads(body)["inputs"][0]["data"])
        found.append(time.perf_counter() - began)
    return min(found)


async def longest_stall(client: httpx.AsyncClient, body: bytes) -> tuple[float, httpx.Response]:
    """How late a short sleep ended, at worst, while the request was answered."""
    request, worst = asyncio.create_task(client.post("/v2/models/same/infer", content=body)), 0.0
    while not request.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - began)
    return worst, await request


@pytest.mark.parametrize("nested", [True, False])
async def test_ten_megabytes_of_json_hold_nobody_up(redis_server: str, tmp_path: Path, nested: bool) -> None:
    release_graph(
        tmp_path / "models" / "perception",
        "same",
        [helper.make_node("Neg", ["x"], ["y"])],
        inputs=[("x", "float32", ["height", "width"])],
        outputs=[("y", "float32", ["height", "width"])],
    )
    numbers = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    body = body_of(numbers, nested=nested)
    assert len(body) > 9_500_000
    async with running(create_app(settings_of(tmp_path, redis_server, models=str(tmp_path / "models")))) as client:
        await until_models_are_open(client)
        stalls = []
        for _ in range(ROUNDS):
            stall, answer = await longest_stall(client, body)
            stalls.append(stall)
        found = np.array(answer.json()["outputs"][0]["data"], np.float32).reshape(SIDE, SIDE)
    np.testing.assert_array_equal(found, -numbers)
    assert min(stalls) < 0.7 * seconds_at_once(body), stalls  # 1.3 where the loop does all of it
