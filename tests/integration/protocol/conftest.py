"""A gateway and a perception service on sockets, with models of a few nodes, and the clients that speak to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import tritonclient.http
import tritonclient.http.aio
from fastapi import FastAPI

from gateway.app import create_app as create_gateway
from services.perception.app import create_app as create_perception
from shared.settings import DOMAINS, Settings
from tests.integration.gateway.servers import serve
from tests.support.graphs import release_protocol_models

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Fleet:
    """What runs.

    Attributes:
        url: of the gateway.
        perception: the application of the service, whose batchers tests hold.
        perception_url: of the service.
    """

    url: str
    perception: FastAPI
    perception_url: str


def settings_of(folder: Path, redis: str, **values: Any) -> Settings:
    """Settings of a process; every domain is served by one service, where a `url` of it is given."""
    url = values.pop("url", None)
    urls = {f"{domain}_url": url for domain in DOMAINS} if url else {}
    return Settings(_env_file=None, redis_url=f"{redis}/0", blob_url=str(folder / "blobs"), **urls, **values)


@pytest.fixture(scope="module")
def fleet(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("protocol")
    release_protocol_models(folder / "models" / "perception")
    perception = create_perception(settings_of(folder, redis_server, models=str(folder / "models")))
    with serve(perception) as service_url:
        until_ready(service_url)
        with serve(create_gateway(settings_of(folder, redis_server, url=service_url))) as url:
            yield Fleet(url, perception, service_url)


def until_ready(url: str) -> None:
    """Wait until a service has its models open."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := httpx.get(f"{url}/health/ready")).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.02)


class Asynchronous:
    """Tritonclient's asynchronous client, called as the synchronous one is."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._open(url))

    async def _open(self, url: str) -> Any:
        return tritonclient.http.aio.InferenceServerClient(url)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *arguments, **named: self._runner.run(method(*arguments, **named))

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture(params=[tritonclient.http.InferenceServerClient, Asynchronous], ids=["sync", "aio"])
def client(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Any]:
    """A client of the gateway, each kind in turn."""
    made = request.param(fleet.url.removeprefix("http://"))
    yield made
    made.close()
