"""The security service, its worker and their stores, as real processes and files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import redis.asyncio

from services.security.app import create_app
from services.security.bit_error_campaigns.capability import CAMPAIGNS, PATH
from shared.jobs.store import open_job_store
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.support.serving import running, until_models_are_open
from tests.support.workers import JobBench


class Bench(JobBench):
    """The service, and what it shares with workers."""

    QUEUE = CAMPAIGNS.queue

    async def send(self, route: str, dataset: bytes, own: bytes | None = None, /, **form: str) -> httpx.Response:
        """Post a form."""
        files = {"dataset": ("dataset.zip", dataset)} | ({} if own is None else {"file": ("model.onnx", own)})
        return await self.client.post(route, files=files, data=form)

    async def estimate(self, dataset: bytes, own: bytes | None = None, /, **form: str) -> dict[str, Any]:
        """What a campaign would cost."""
        answer = await self.send(f"{PATH}/estimates", dataset, own, **form)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def post(self, dataset: bytes, own: bytes | None = None, /, **form: str) -> str:
        """Create a job; returns its id."""
        answer = await self.send(PATH, dataset, own, **form)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["id"]
        return job_id

    async def refused(self, dataset: bytes, own: bytes | None = None, /, **form: str) -> tuple[int, str, str]:
        """Status, first pointer and detail of a refusal; estimates are refused alike."""
        answers = [await self.send(route, dataset, own, **form) for route in (PATH, f"{PATH}/estimates")]
        first, second = ((one.status_code, one.json()["errors"], one.json()["detail"]) for one in answers)
        assert first == second
        return first[0], first[1][0]["pointer"], first[2]


@asynccontextmanager
async def open_bench(redis_url: str, blobs: Path, *, threads: int = 1) -> AsyncIterator[Bench]:
    """The service without a worker, and a store that knows of none: killed ones count as live for some seconds."""
    async with redis.asyncio.from_url(redis_url) as store:
        await store.flushdb()
    settings = Settings(
        _env_file=None, redis_url=redis_url, blob_url=str(blobs), worker_heartbeat_s=1.0, inference_threads=threads
    )
    async with open_job_store(settings) as jobs, running(create_app(settings)) as client:
        await until_models_are_open(client)
        yield Bench(client, jobs, BlobStore(settings.blob_url), settings)
