"""Ten thousand queued jobs: what a page of the listing takes, what creating takes, what a job takes in Redis."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from gateway.app import create_app
from shared.jobs.connection import api_client
from shared.jobs.kinds import JobKind, JobKinds
from shared.jobs.records import JobStatus
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.benchmarks.reporting import ROUNDS, show
from tests.integration.gateway.servers import serve

JOBS = 10_000
KIND = JobKind(name="medical.test", queue="medical.onnx", function="tests:none", title="A test", queue_limit=2 * JOBS)
RARE = JobKind(name="medical.rare", queue="medical.onnx", function="tests:none", title="A rare one")
ARGUMENTS = {"files": [{"digest": "sha256:" + "0" * 64, "name": "slice"}], "options": {"model": "low-dose-ct"}}


class Unpublished:
    def publish(self, job_id: str, *, queue: str, time_limit_s: int) -> None:
        pass


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Of a Redis with the options of `make run`."""
    return Settings(_env_file=None, redis_url=redis_url, blob_url=str(tmp_path / "blobs"))


async def _fill(store: JobStore) -> float:
    """Seconds for all jobs; one in a hundred is of the rare kind."""
    began = time.perf_counter()
    for start in range(0, JOBS, 50):
        await asyncio.gather(
            *(store.create(RARE if number % 100 == 0 else KIND, ARGUMENTS) for number in range(start, start + 50))
        )
    return time.perf_counter() - began


async def _measure(name: str, ask: Callable[[], Awaitable[object]]) -> dict[str, Any]:
    times = []
    for _ in range(20 * ROUNDS):
        began = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - began) * 1000)
    return {"what": name, "p50 ms": statistics.median(times), "p95 ms": statistics.quantiles(times, n=20)[-1]}


async def test_ten_thousand_jobs(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    client = api_client(settings.redis_url)
    store = JobStore(client, JobKinds([KIND, RARE]), settings, publisher=Unpublished())
    with redis.Redis.from_url(settings.redis_url) as plain:
        plain.zadd("facet:queue:medical.onnx:workers", {"by-hand": 1e15})
        before = plain.info("memory")["used_memory"]
        seconds = await _fill(store)
        per_job = (plain.info("memory")["used_memory"] - before) / JOBS
    cursor = None
    for _ in range(JOBS // 200):
        cursor = (await store.list_jobs(limit=100, cursor=cursor)).next_cursor
    assert len((await store.list_jobs(kind=RARE.name, limit=20)).records) == 20
    rows = [
        await _measure("store, first", lambda: store.list_jobs(limit=20)),
        await _measure("store, in the middle", lambda: store.list_jobs(limit=20, cursor=cursor)),
        await _measure("store, one kind in a hundred", lambda: store.list_jobs(limit=20, kind=RARE.name)),
        await _measure("store, a status that none has", lambda: store.list_jobs(limit=20, status=JobStatus.FAILED)),
    ]
    with serve(create_app(settings)) as url:
        async with httpx.AsyncClient(base_url=url) as http:
            assert len((await http.get("/v1/jobs")).json()["jobs"]) == 20
            rows.append(await _measure("gateway, first", lambda: http.get("/v1/jobs")))
            rows.append(
                await _measure("gateway, one kind in a hundred", lambda: http.get(f"/v1/jobs?kind={RARE.name}"))
            )
            newest = f"/v1/jobs/{(await store.list_jobs(limit=1)).records[0].id}"
            assert (await http.get(newest)).json()["queue_position"] == JOBS - 1
            rows.append(await _measure("gateway, one job with its position", lambda: http.get(newest)))
    await client.aclose()
    show(capsys, f"{JOBS} queued jobs: created at {JOBS / seconds:.0f} a second, {per_job / 1024:.2f} KiB each", rows)
