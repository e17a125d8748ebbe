"""A gateway before two replicas of the perception service, which share Redis and the blob store and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gateway.app import create_app as create_gateway
from services.perception.app import create_app as create_perception
from shared.settings import DOMAINS, Settings
from tests.integration.gateway.servers import serve
from tests.support.own_models import SIDE, form, own_card, scale
from tests.support.serving import fleet_headers

EMPTY_DOMAINS = tuple(domain for domain in DOMAINS if domain != "perception")


@dataclass(frozen=True)
class Bench:
    """Clients of all of it."""

    gateway: httpx.AsyncClient
    replicas: tuple[httpx.AsyncClient, httpx.AsyncClient]
    settings: Settings

    async def upload(self, factor: float, version: str = "1.0.0", **data: Any) -> httpx.Response:
        content = scale(factor)
        files = form(content, own_card(content, version=version))
        return await self.gateway.post("/v1/models", files=files, data=data)


async def ask(
    client: httpx.AsyncClient, *, version: str | None = None, name: str = "scale", request_id: str = ""
) -> httpx.Response:
    """Ask a model to scale ones."""
    tensor = {"name": "x", "shape": [1, SIDE], "datatype": "FP32", "data": [1.0] * SIDE}
    path = f"/v2/models/{name}/versions/{version}/infer" if version else f"/v2/models/{name}/infer"
    body = {"inputs": [tensor]} | ({"id": request_id} if request_id else {})
    return await client.post(path, json=body)


async def factor(client: httpx.AsyncClient, **options: Any) -> tuple[str, float]:
    """Which version answers, and its factor."""
    answer = await ask(client, **options)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    return document["model_version"], document["outputs"][0]["data"][0]


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        redis_url=redis_url,
        blob_url=str(tmp_path / "blobs"),
        models=tmp_path / "models",
        models_poll_s=0.05,
        model_trial_timeout_s=20,
        inference_threads=1,
    )


@pytest.fixture
def urls(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """URLs of the gateway and of the two replicas; the gateway passes everything on to the first."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(serve(create_perception(settings))) for _ in range(2))
        nothing = stack.enter_context(serve(service_without_models()))
        others = {f"{domain}_url": nothing for domain in EMPTY_DOMAINS}
        fleet = settings.model_copy(update={"perception_url": first, **others})
        yield stack.enter_context(serve(create_gateway(fleet))), first, second


def service_without_models() -> FastAPI:
    app = FastAPI()

    @app.get("/v1/models")
    async def models() -> dict[str, list[str]]:
        return {"models": []}

    return app


@pytest.fixture
async def bench(urls: tuple[str, str, str], settings: Settings) -> AsyncIterator[Bench]:
    async with (
        httpx.AsyncClient(base_url=urls[0], timeout=60) as gateway,
        httpx.AsyncClient(base_url=urls[1], timeout=60, headers=fleet_headers(settings)) as first,
        httpx.AsyncClient(base_url=urls[2], timeout=60, headers=fleet_headers(settings)) as second,
    ):
        yield Bench(gateway, (first, second), settings)
