"""Every sample input of every capability is taken by the route that it is for, in the real services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import redis

from services.declarations import declared_capabilities
from shared.capabilities.declaration import Capability, Sample
from shared.capabilities.references import load_reference
from shared.jobs.kinds import WEIGHTS, queues_of
from shared.settings import Settings
from tests.support.serving import running, until_models_are_open

pytestmark = pytest.mark.asyncio(loop_scope="module")

DECLARED = declared_capabilities()
SAMPLES = [(one, sample) for one in DECLARED for sample in one.samples]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(
    redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client of each service that has a capability. Jobs find their queues attended, and are not worked on."""
    blobs: Path = tmp_path_factory.mktemp("blobs")
    settings = Settings(_env_file=None, redis_url=f"{redis_server}/9", blob_url=str(blobs))
    with redis.Redis.from_url(settings.redis_url) as plain:
        plain.flushdb()
        for queue in (queue for weight in WEIGHTS for queue in queues_of(weight)):
            plain.zadd(f"facet:queue:{queue}:workers", {"by hand": 1e15})
    async with AsyncExitStack() as stack:
        started: dict[str, httpx.AsyncClient] = {}
        for domain in sorted({one.domain for one in DECLARED}):
            app = import_module(f"services.{domain}.app").create_app(settings)
            started[domain] = await stack.enter_async_context(running(app))
            await until_models_are_open(started[domain])
        yield started


@pytest.mark.parametrize(("capability", "sample"), SAMPLES, ids=[f"{one.name}: {it.title}" for one, it in SAMPLES])
async def test_a_sample_is_taken(clients: dict[str, httpx.AsyncClient], capability: Capability, sample: Sample) -> None:
    files = {field: (file.name, load_reference(file.make)()) for field, file in sample.files.items()}
    answer = await clients[capability.domain].post(sample.path, files=files, data=dict(sample.form))
    assert answer.status_code in {200, 201, 202}, answer.text
