"""A gateway behind a real socket, and hands on the worker's side of its jobs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from gateway.app import create_app
from gateway.upstream.aiohttp_transport import AiohttpTransport
from shared.access.keys import KeyStore
from shared.jobs.attempts import Attempt, Attempts
from shared.jobs.connection import api_client, worker_client
from shared.jobs.kinds import JobKind, JobKinds
from shared.jobs.records import JobRecord
from shared.jobs.store import JobStore
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.integration.gateway.exchanges import Serve
from tests.integration.gateway.servers import serve, serve_bytes

QUEUE = "medical.onnx"


class Unpublished:
    """Nobody needs to hear of the jobs of these tests: they are worked on by hand."""

    def publish(self, job_id: str, *, queue: str, time_limit_s: int) -> None:
        pass


def kind(name: str = "medical.test") -> JobKind:
    return JobKind(name=name, queue=QUEUE, function="tests:none", title="A test", step_unit="slice")


@dataclass
class Bench:
    """Makes jobs and works on them."""

    settings: Settings
    store: JobStore
    attempts: Attempts
    blobs: BlobStore

    async def create(self, name: str = "medical.test", **arguments: Any) -> JobRecord:
        return await self.store.create(kind(name), arguments)

    async def start(self) -> Attempt:
        """A job of which an attempt runs."""
        record = await self.create()
        attempt = self.attempts.claim(record.id)
        assert isinstance(attempt, Attempt)
        return attempt


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(_env_file=None, redis_url=redis_url, blob_url=str(tmp_path / "blobs"))


@pytest.fixture
async def bench(settings: Settings) -> AsyncIterator[Bench]:
    client = api_client(settings.redis_url)
    with closing(worker_client(settings.redis_url)) as worker, redis.Redis.from_url(settings.redis_url) as plain:
        plain.zadd(f"facet:queue:{QUEUE}:workers", {"by-hand": time.time() * 1000 + 60_000})
        store = JobStore(client, JobKinds([kind()]), settings, publisher=Unpublished())
        yield Bench(settings, store, Attempts(worker, settings, "by-hand"), BlobStore(settings.blob_url))
    await client.aclose()


@pytest.fixture
def gateway_url(settings: Settings) -> Iterator[str]:
    with serve(create_app(settings)) as url:
        yield url


@pytest.fixture
async def client(gateway_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway_url, timeout=30) as client:
        yield client


@pytest.fixture
def served() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda handler: stack.enter_context(serve_bytes(handler))


@pytest.fixture
async def wire() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport()
    yield made
    await made.close()
    assert made.in_flight == 0, "a request is still counted after its end"


@pytest.fixture
async def keys(redis_url: str) -> AsyncIterator[KeyStore]:
    client = api_client(redis_url)
    yield KeyStore(client)
    await client.aclose()
