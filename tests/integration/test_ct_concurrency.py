"""CT requests beside each other: they batch, they stop when their caller leaves, and few large ones are in memory.

A real service on a real socket, and a real onnxruntime session that takes its time.
"""

from __future__ import annotations

import asyncio
import io
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio
from fastapi import FastAPI

from services.medical.app import create_app
from services.medical.low_dose_ct.denoising import tiling
from shared.service import ServiceState
from shared.settings import Settings
from tests.integration.gateway.servers import serve
from tests.support.serving import fleet_headers
from tests.support.tiny_models import release

ROUTE = "/v1/medical/ct/enhancements"
SMALL, LARGE = 48, 600
PATIENCE_S = 20.0


def ct(side: int) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((side, side), np.float32))
    return stream.getvalue()


@dataclass(frozen=True)
class Fleet:
    app: FastAPI
    client: httpx.AsyncClient

    @property
    def service(self) -> ServiceState:
        state: ServiceState = self.app.state.service
        return state

    @property
    def in_flight(self) -> int:
        """Slices that are with the network now, or wait for it."""
        return sum(one.in_flight for batchers in self.service.batchers.known.values() for one in batchers)

    def post(self, side: int) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(self.client.post(ROUTE, files={"file": ct(side)}))

    async def batches(self) -> tuple[int, int]:
        """How many batches there were, and of how many rows."""
        text = (await self.client.get("/metrics")).text
        labels = 'model="low-dose-ct",version="1.0.0"'
        found = [re.search(rf"facet_batch_rows_{what}{{{labels}}} (\S+)", text) for what in ("count", "sum")]
        count, rows = (int(float(one[1])) if one else 0 for one in found)
        return count, rows


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            held = condition()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.005)


async def leave(request: asyncio.Task[httpx.Response]) -> None:
    request.cancel()
    with suppress(asyncio.CancelledError):
        await request


@pytest_asyncio.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    models = tmp_path / "models" / "medical"
    release(models, kind="slow", parameters={"receptive_field": 8})
    settings = Settings(
        _env_file=None,
        redis_url="redis://127.0.0.1:1/0",
        blob_url=str(tmp_path / "blobs"),
        models=tmp_path / "models",
        inference_threads=1,
        pixel_limit=LARGE * LARGE + 10 * SMALL * SMALL,  # one large slice at a time, and some small ones beside it
    )
    app = create_app(settings)
    with serve(app) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60, headers=fleet_headers(app.state.settings)) as client:
            fleet = Fleet(app, client)
            await until(lambda: bool(fleet.service.models.entries))
            yield fleet


async def test_slices_that_wait_are_computed_together(fleet: Fleet) -> None:
    first = fleet.post(LARGE)
    await until(lambda: fleet.in_flight == 1)
    others = [fleet.post(SMALL) for _ in range(3)]
    await until(lambda: fleet.in_flight == 4)
    await leave(first)
    answers = await asyncio.gather(*others)
    assert [answer.status_code for answer in answers] == [200] * 3
    count, rows = await fleet.batches()
    assert rows == 1 + 3
    assert count < rows, "two of the three were in one batch, as one says nothing yet of what more would cost"


async def test_who_leaves_ends_the_computation_and_frees_the_memory(fleet: Fleet) -> None:
    alone = fleet.post(LARGE)
    await until(lambda: fleet.in_flight == 1)
    await leave(alone)
    await until(lambda: fleet.in_flight == 0)
    assert (await fleet.post(SMALL)).status_code == 200


async def test_large_slices_wait_outside_of_memory(fleet: Fleet) -> None:
    large = [fleet.post(LARGE) for _ in range(4)]
    await until(lambda: fleet.service.compute_pool.waiting == 3)
    await until(lambda: fleet.in_flight == 1)
    for request in large:
        await leave(request)
    await until(lambda: fleet.service.compute_pool.waiting == 0)
    assert (await fleet.post(SMALL)).status_code == 200


async def test_who_leaves_between_two_parts_of_a_large_slice_ends_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiling, "CORE_SIDE", 16)
    parts = math.ceil(LARGE / 16) ** 2

    async def begun() -> int:
        return (await fleet.batches())[0]

    async def is_at_the_third_part() -> bool:
        return await begun() >= 2

    large = fleet.post(LARGE)
    await until(is_at_the_third_part)
    await leave(large)
    await until(lambda: fleet.in_flight == 0)
    ended = await begun()
    assert (await fleet.post(16)).status_code == 200, "the memory of the large slice is free again"
    assert await begun() <= ended + 2, "beside the small slice, the part that was under way may count late"
    assert ended < parts / 2
