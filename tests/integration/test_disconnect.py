"""A caller that goes away frees what it held: its place in the queue at once, its thread at the next node of the graph.

Real sockets from the caller over the gateway to the service, and a real onnxruntime session.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
import redis
from fastapi import APIRouter, Form, Request, Response

from gateway.app import create_app
from shared.http.disconnect import ClientClosedRequest
from shared.http.fleet import FLEET_TOKEN_HEADER
from shared.http.preferences import preferences_of
from shared.jobs.answers import answer_job
from shared.jobs.attempts import Attempt, Attempts
from shared.jobs.connection import worker_client
from shared.jobs.kinds import JobKind
from shared.runtime.cancellation import Interrupted
from shared.runtime.compute_pool import ComputePool
from shared.service import Service, ServiceParts, create_service
from shared.settings import Settings
from tests.integration.gateway.servers import serve
from tests.support.serving import FLEET_TOKEN
from tests.support.tiny_models import release

SLOW = 1024
"""Side of an image that takes the model many seconds."""

PATIENCE_S = 10.0

FLEET = {FLEET_TOKEN_HEADER: FLEET_TOKEN}
"""What a service asks of its callers; a gateway passes its own on."""

LONG = JobKind(name="medical.test", queue="medical.onnx", function="tests:none", title="A test")


@dataclass
class Ledger:
    """What the service did."""

    pool: ComputePool | None = None
    began: threading.Event = field(default_factory=threading.Event)
    interrupted: threading.Event = field(default_factory=threading.Event)
    finished: list[int] = field(default_factory=list)
    job_ids: list[str] = field(default_factory=list)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def _router(ledger: Ledger) -> APIRouter:
    router = APIRouter(tags=["test"])

    @router.post("/v1/medical/slow")
    async def slow(service: Service, side: int = Form()) -> int:
        model = service.models.get("low-dose-ct")
        ledger.pool = service.compute_pool

        def work() -> int:
            ledger.began.set()
            image = np.zeros((1, 1, side, side), np.float32)
            try:
                model.run({"image": image, "noise_level": np.zeros(1, np.float32)})
            except Interrupted:
                ledger.interrupted.set()
                raise
            ledger.finished.append(side)
            return side

        return await service.compute_pool.run(work)

    @router.post("/v1/medical/long")
    async def long(request: Request, service: Service) -> Response:
        record = await service.jobs.create(LONG, {})
        ledger.job_ids.append(record.id)
        ledger.began.set()
        try:
            return await answer_job(service.jobs, record, preferences_of(request))
        except ClientClosedRequest:
            ledger.interrupted.set()
            raise

    return router


@pytest.fixture(params=["service", "gateway"])
def gateway_url(request: pytest.FixtureRequest, ledger: Ledger, tmp_path: Path, redis_url: str) -> Iterator[str]:
    """URL of the service itself, or of a gateway before it."""
    release(tmp_path, kind="slow")
    settings = Settings(_env_file=None, redis_url=redis_url, blob_url=str(tmp_path / "blobs"), inference_threads=1)
    with redis.Redis.from_url(redis_url) as client:
        client.zadd("facet:queue:medical.onnx:workers", {"by hand": 1e15})
    service = create_service(
        "medical",
        title="-",
        description="-",
        models=tmp_path,
        parts=ServiceParts(routers=[_router(ledger)]),
        settings=settings,
    )
    with serve(service) as url:
        if request.param == "service":
            yield url
            return
        with serve(create_app(settings.model_copy(update={"medical_url": url}))) as gateway:
            yield gateway


async def _until_ready(client: httpx.AsyncClient) -> None:
    while (await client.get("/v1/models")).json()["models"] == []:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def _until(condition: threading.Event) -> None:
    assert await asyncio.to_thread(condition.wait, PATIENCE_S)


async def _until_waiting(ledger: Ledger, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while ledger.pool is None or ledger.pool.waiting != count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _leave(request: asyncio.Task[httpx.Response]) -> None:
    request.cancel()
    with suppress(asyncio.CancelledError):
        await request


async def test_who_leaves_frees_its_place_and_its_thread(gateway_url: str, ledger: Ledger) -> None:
    async with httpx.AsyncClient(base_url=gateway_url, timeout=60, headers=FLEET) as client:

        def post(side: int) -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(client.post("/v1/medical/slow", data={"side": str(side)}))

        await _until_ready(client)
        running = post(SLOW)
        await _until(ledger.began)
        leaving = post(SLOW)
        await _until_waiting(ledger, 1)
        staying = post(9)
        await _until_waiting(ledger, 2)

        await _leave(leaving)
        await _until_waiting(ledger, 1)
        assert not ledger.interrupted.is_set(), "the one that computes is another caller's"

        await _leave(running)
        await _until(ledger.interrupted)
        assert (await staying).json() == 9
        assert ledger.finished == [9], "neither of those who left was computed to its end"


async def test_who_stays_is_answered(gateway_url: str, ledger: Ledger) -> None:
    async with httpx.AsyncClient(base_url=gateway_url, timeout=60, headers=FLEET) as client:
        await _until_ready(client)
        answers = await asyncio.gather(*(client.post("/v1/medical/slow", data={"side": "8"}) for _ in range(4)))
    assert [answer.json() for answer in answers] == [8] * 4
    assert not ledger.interrupted.is_set()


async def test_who_leaves_while_waiting_for_a_job_leaves_it_running(
    gateway_url: str, ledger: Ledger, redis_url: str
) -> None:
    async with httpx.AsyncClient(base_url=gateway_url, timeout=60, headers=FLEET) as client:
        waiting = asyncio.create_task(client.post("/v1/medical/long", headers={"Prefer": "wait=50"}))
        await _until(ledger.began)
        with worker_client(redis_url) as connection:
            attempt = Attempts(connection, Settings(_env_file=None), "by hand").claim(ledger.job_ids[0])
            assert isinstance(attempt, Attempt)
            await _leave(waiting)
            await _until(ledger.interrupted)
            assert attempt.note() is False, "nobody has cancelled it"
            attempt.succeed({"answer": 42})
            assert connection.hget(f"facet:job:{ledger.job_ids[0]}", "status") == "succeeded"
