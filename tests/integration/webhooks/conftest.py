"""A gateway whose delivery worker delivers to receivers of this machine, and hands on the worker's side of its jobs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from redis.asyncio import Redis

from gateway.app import create_app
from shared.jobs.attempts import Attempt, Attempts
from shared.jobs.connection import api_client, worker_client
from shared.jobs.kinds import JobKind, JobKinds
from shared.jobs.store import JobStore
from shared.request_context import bound, new_context
from shared.settings import Settings
from shared.webhooks.store import WebhookStore
from tests.integration.gateway.conftest import QUEUE, Unpublished, kind
from tests.integration.gateway.servers import serve
from tests.integration.webhooks.receivers import PATIENCE_S, Receiver, until

ALL = ["job.started", "job.succeeded", "job.failed", "job.cancelled", "job.expired"]


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Short times; every address of this machine's loopback is allowed, and nothing else besides the public."""
    return Settings(
        _env_file=None,
        redis_url=redis_url,
        blob_url=str(tmp_path / "blobs"),
        webhook_allowed_networks="127.0.0.0/8",
        webhook_retry_schedule_s=(0.2, 0.2, 0.2),
        webhook_timeout_s=1.0,
        webhook_limit=5,
    )


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[Redis]:
    client = api_client(settings.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def webhooks(connection: Redis, settings: Settings) -> WebhookStore:
    return WebhookStore(connection, settings)


@pytest.fixture
def gateway_url(settings: Settings) -> Iterator[str]:
    with serve(create_app(settings)) as url:
        yield url


@pytest.fixture
async def client(gateway_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway_url, timeout=30) as client:
        yield client


@dataclass
class Jobs:
    """Makes jobs and works on them by hand."""

    store: JobStore
    attempts: Attempts

    async def start(self, name: str = "medical.test", *, owner: str = "anonymous", traceparent: str = "") -> Attempt:
        with bound(new_context(traceparent=traceparent)):
            record = await self.store.create(self._kind(name), {}, owner=owner)
        attempt = self.attempts.claim(record.id)
        assert isinstance(attempt, Attempt)
        return attempt

    def _kind(self, name: str) -> JobKind:
        return kind(name)


@pytest.fixture
def jobs(connection: Redis, settings: Settings) -> Iterator[Jobs]:
    with closing(worker_client(settings.redis_url)) as worker, redis.Redis.from_url(settings.redis_url) as plain:
        plain.zadd(f"facet:queue:{QUEUE}:workers", {"by-hand": time.time() * 1000 + 600_000})
        store = JobStore(connection, JobKinds([kind()]), settings, publisher=Unpublished())
        yield Jobs(store, Attempts(worker, settings, "by-hand"))


Subscribe = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def subscribe(client: httpx.AsyncClient) -> Subscribe:
    """Makes a webhook through the gateway."""

    async def make(receiver: Receiver | str, **wanted: Any) -> dict[str, Any]:
        url = receiver if isinstance(receiver, str) else receiver.url
        answer = await client.post("/v1/webhooks", json={"url": url, "events": ALL} | wanted)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    return make


async def delivery_when(
    client: httpx.AsyncClient, webhook: dict[str, Any], condition: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The newest delivery of a webhook with its attempts, once it fulfils a condition."""
    deadline = time.monotonic() + PATIENCE_S
    found: dict[str, Any] = {}
    while time.monotonic() < deadline:
        page = (await client.get(f"/v1/webhooks/{webhook['id']}/deliveries")).json()["deliveries"]
        if page:
            found = (await client.get(f"/v1/webhooks/{webhook['id']}/deliveries/{page[0]['id']}")).json()
            if condition(found):
                return found
    raise AssertionError(f"it did not happen; the newest delivery is {found}")


__all__ = ["ALL", "Jobs", "Subscribe", "delivery_when", "until"]
