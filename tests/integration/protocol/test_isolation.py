"""One bad item among sixteen that are computed together: fifteen answers and one problem, through the gateway."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from shared.runtime.batching.batcher import Batcher
from shared.runtime.batching.latency_model import LatencyModel
from shared.service import ServiceState
from tests.integration.protocol.conftest import PATIENCE_S, Fleet
from tests.support.graphs import TABLE

ROUTE = "/v2/models/embedding/infer"
ROWS = 16
BAD = 99
"""An index beyond the table: onnxruntime fails on the whole batch that holds it."""


@pytest.fixture(autouse=True)
def plain_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches as large as may be, in the model's thread, where they can be held."""
    monkeypatch.setattr(LatencyModel, "best_batch_size", lambda _, most: most)
    monkeypatch.setattr(Batcher, "_is_quick", lambda *_: False)


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=fleet.url, timeout=PATIENCE_S, limits=limits) as client:
        yield client


@dataclass(frozen=True)
class Batches:
    """The counts of facet_batch_rows."""

    whole: float
    """Batches of more than 8 rows."""
    all: float
    rows: float


async def batches(fleet: Fleet) -> Batches:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{fleet.perception_url}/metrics")).text

    def value(suffix: str) -> float:
        found = re.search(rf'^facet_batch_rows_{suffix}.*model="embedding".* (\S+)$', text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    upto = re.search(r'^facet_batch_rows_bucket{le="8.0",model="embedding".* (\S+)$', text, re.MULTILINE)
    return Batches(value("count") - (float(upto[1]) if upto else 0.0), value("count"), value("sum"))


def batcher_of(fleet: Fleet) -> Batcher:
    state: ServiceState = fleet.perception.state.service
    return state.batchers.of(state.models.get("embedding"))


@contextmanager
def held(batcher: Batcher) -> Iterator[None]:
    """Keep the model's own thread busy inside, so that requests gather behind the first."""
    gate = threading.Event()
    batcher._executors.submit(lambda: gate.wait(PATIENCE_S))
    try:
        yield
    finally:
        gate.set()


async def until_waiting(batcher: Batcher, items: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while batcher.waiting < items or not batcher._executors.running:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def look_up(client: httpx.AsyncClient, index: int, *, binary: bool = False) -> httpx.Response:
    tensor: dict[str, Any] = {"name": "index", "datatype": "INT64", "shape": [1]}
    if not binary:
        return await client.post(ROUTE, json={"inputs": [tensor | {"data": [index]}]})
    tensor["parameters"] = {"binary_data_size": 8}
    document = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(document))}
    return await client.post(ROUTE, content=document + np.int64(index).tobytes(), headers=headers)


def require_right(answer: httpx.Response, index: int) -> None:
    """The row of a good index, the problem of a bad one."""
    if index == BAD:
        assert answer.status_code == 422
        assert "idx=99" in answer.json()["error"]
        assert answer.json()["errors"][0]["pointer"] == "/body/inputs"
    else:
        assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"][0]["data"] == TABLE[index].tolist()


@pytest.mark.parametrize("bad", [0, 7, 15])
async def test_fifteen_answers_and_one_problem(fleet: Fleet, client: httpx.AsyncClient, bad: int) -> None:
    batcher = batcher_of(fleet)
    for round_number in range(5):
        before = await batches(fleet)
        indices = [(round_number + number) % 8 for number in range(ROWS)]
        indices[bad] = BAD
        with held(batcher):
            first = asyncio.create_task(look_up(client, 3))
            await until_waiting(batcher, 0)
            calls = [
                asyncio.create_task(look_up(client, index, binary=number % 2 == 1))
                for number, index in enumerate(indices)
            ]
            await until_waiting(batcher, ROWS)
        answers = await asyncio.gather(*calls)
        require_right(await first, 3)
        for index, answer in zip(indices, answers, strict=True):
            require_right(answer, index)
        after = await batches(fleet)
        assert (after.all - before.all, after.rows - before.rows) == (2, 1 + ROWS)
        assert after.whole - before.whole == 1


async def test_every_second_item_bad(fleet: Fleet, client: httpx.AsyncClient) -> None:
    batcher = batcher_of(fleet)
    indices = [BAD if number % 2 else number // 2 for number in range(ROWS)]
    with held(batcher):
        first = asyncio.create_task(look_up(client, 3))
        await until_waiting(batcher, 0)
        calls = [asyncio.create_task(look_up(client, index)) for index in indices]
        await until_waiting(batcher, ROWS)
    require_right(await first, 3)
    for index, answer in zip(indices, await asyncio.gather(*calls), strict=True):
        require_right(answer, index)


async def test_a_timeout_that_passes_in_the_queue_is_504(fleet: Fleet, client: httpx.AsyncClient) -> None:
    """Triton's parameter: microseconds. What has none waits on."""
    batcher = batcher_of(fleet)
    document = {"inputs": [{"name": "index", "datatype": "INT64", "shape": [1], "data": [1]}]}
    with held(batcher):
        first = asyncio.create_task(look_up(client, 3))
        await until_waiting(batcher, 0)
        hurried = asyncio.create_task(client.post(ROUTE, json=document | {"parameters": {"timeout": 200_000}}))
        patient = asyncio.create_task(client.post(ROUTE, json=document))
        await until_waiting(batcher, 2)
        await asyncio.sleep(0.25)
    late = await hurried
    assert (late.status_code, late.json()["status"]) == (504, 504)
    assert "time given" in late.json()["error"]
    require_right(await patient, 1)
    require_right(await first, 3)


async def test_under_load_everybody_gets_his_own(fleet: Fleet, client: httpx.AsyncClient) -> None:
    """Twenty callers in a closed loop, one request in sixteen bad; nobody is held, batches come as they come."""
    before = await batches(fleet)

    async def caller(number: int) -> None:
        for turn in range(20):
            place = number * 20 + turn
            index = BAD if place % 16 == 5 else place % 8
            require_right(await look_up(client, index, binary=bool(place & 1)), index)

    await asyncio.gather(*(caller(number) for number in range(20)))
    after = await batches(fleet)
    assert after.rows - before.rows == 20 * 20
    assert after.all - before.all < 20 * 20, "nothing was computed together"
