"""The frame of the domain services: what routes find, and how a service behaves while it starts and when it is full."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI

from shared.service import Service, ServiceParts, create_service
from shared.settings import Settings
from tests.support.serving import running, until_models_are_open
from tests.support.tiny_models import release


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds up whoever waits for it; opened at the end, so that no thread is left waiting."""
    event = threading.Event()
    yield event
    event.set()


def make(folder: Path, *, warm_up: Callable[[], object] = bool, work: Callable[[], object] = bool) -> FastAPI:
    """A service with one model beside its code, and one route that computes."""
    beside = folder / "beside"
    if not beside.exists():
        release(beside, "low-dose-ct")
    router = APIRouter()

    @router.post("/work")
    async def compute(service: Service) -> str:
        return str(await service.compute_pool.run(work))

    return create_service(
        "medical",
        title="-",
        description="-",
        models=beside,
        parts=ServiceParts(routers=[router], warm_ups=[lambda _: warm_up()]),
        settings=Settings(
            redis_url="redis://127.0.0.1:1/0", blob_url=str(folder / "blobs"), inference_queue=1, inference_threads=1
        ),
    )


async def test_alive_and_not_ready_while_models_load(tmp_path: Path, gate: threading.Event) -> None:
    async with running(make(tmp_path, warm_up=gate.wait)) as client:
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health/ready")).json()["checks"]["models"] == "models are loading"
        gate.set()
        await until_models_are_open(client)
        assert (await client.get("/health/ready")).json()["checks"]["models"] == "ok"


async def test_model_that_is_still_loading_is_a_503(tmp_path: Path, gate: threading.Event) -> None:
    (tmp_path / "beside").mkdir()
    async with running(make(tmp_path, warm_up=gate.wait)) as client:
        answer = await client.get("/v1/models/low-dose-ct")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        gate.set()


async def test_damaged_model_is_named_by_readiness_and_the_service_lives(tmp_path: Path) -> None:
    (release(tmp_path / "beside", "low-dose-ct") / "model.onnx").write_bytes(b"damaged")
    async with running(make(tmp_path)) as client:
        await until_models_are_open(client)
        ready = await client.get("/health/ready")
        assert ready.status_code == 503
        assert "low-dose-ct 1.0.0" in ready.json()["checks"]["models"]
        assert (await client.post("/work")).status_code == 200


async def test_full_service_says_when_to_come_back(tmp_path: Path, gate: threading.Event) -> None:
    began = threading.Event()

    def work() -> bool:
        began.set()
        return gate.wait()

    app = make(tmp_path, work=work)
    async with running(app) as client:
        first = asyncio.create_task(client.post("/work"))
        await asyncio.to_thread(began.wait)
        second = asyncio.create_task(client.post("/work"))
        while not app.state.service.compute_pool.waiting:  # noqa: ASYNC110 - pools tell nobody
            await asyncio.sleep(0)
        refused = await client.post("/work")
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(first, second)] == [200, 200]


async def test_setting_names_other_models(tmp_path: Path) -> None:
    release(tmp_path / "elsewhere" / "medical", "low-dose-ct", "2.0.0")
    beside = tmp_path / "beside"
    release(beside, "low-dose-ct", "1.0.0")
    for models, version in ((None, "1.0.0"), (tmp_path / "elsewhere", "2.0.0")):
        settings = Settings(redis_url="redis://127.0.0.1:1/0", blob_url=str(tmp_path / "blobs"), models=models)
        app = create_service("medical", title="-", description="-", models=beside, settings=settings)
        async with running(app) as client:
            await until_models_are_open(client)
            assert (await client.get("/v1/models/low-dose-ct")).json()["version"] == version
