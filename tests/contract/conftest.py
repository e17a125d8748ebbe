"""The merged document of the real five services behind the real gateway, all in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

from gateway.app import create_app
from gateway.upstream.services import Upstreams
from services.declarations import declared_capabilities
from shared.settings import DOMAINS, Domain, Settings
from tests.contract.documents import Document
from tests.support.serving import running
from tests.support.wires import HttpxWire


class InProcessFleet(httpx.AsyncBaseTransport):
    """The five real applications, in this process."""

    def __init__(self, settings: Settings, applications: Mapping[Domain, FastAPI]) -> None:
        urls = Upstreams(settings).urls
        self._services = {
            urlsplit(urls[domain]).port: httpx.ASGITransport(application)
            for domain, application in applications.items()
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._services[request.url.port].handle_async_request(request)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    models = str(tmp_path_factory.mktemp("models"))
    return Settings(_env_file=None, redis_url="redis://127.0.0.1:1/0", blob_url="memory://contract", models=models)


@pytest.fixture(scope="module")
def applications(settings: Settings) -> dict[Domain, FastAPI]:
    return {domain: import_module(f"services.{domain}.app").create_app(settings) for domain in DOMAINS}


@pytest.fixture(scope="module")
def fleet(settings: Settings, applications: dict[Domain, FastAPI]) -> httpx.ASGITransport:
    return httpx.ASGITransport(
        create_app(
            settings, wire=HttpxWire(InProcessFleet(settings, applications)), capabilities=declared_capabilities()
        )
    )


@pytest.fixture
async def client(fleet: httpx.ASGITransport) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=fleet, base_url="http://facet.localhost") as client:
        yield client


@pytest.fixture
async def document(client: httpx.AsyncClient) -> Document:
    answer = await client.get("/openapi.json")
    found: Document = answer.json()
    assert "x-unavailable" not in found
    return found


@pytest.fixture
async def started(applications: dict[Domain, FastAPI]) -> AsyncIterator[None]:
    """The services run, for what needs more than their routes: their lifespans are entered."""
    async with AsyncExitStack() as stack:
        for application in applications.values():
            await stack.enter_async_context(running(application))
        yield
