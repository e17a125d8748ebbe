"""Jobs without a worker, in the database of a gateway."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.jobs.attempts import Attempt, Attempts
from shared.jobs.connection import api_client, worker_client
from shared.jobs.files import JobFiles
from shared.jobs.kinds import JobKind, JobKinds
from shared.jobs.store import JobStore
from shared.settings import Settings
from shared.storage.blobs import BlobStore

_KIND = JobKind(name="medical.hostile", queue="hostile", function="tests:none", title="-", step_unit="step")


class _Unpublished:
    def publish(self, job_id: str, *, queue: str, time_limit_s: int) -> None:
        """No worker runs here."""


@asynccontextmanager
async def _store(redis_url: str) -> AsyncIterator[JobStore]:
    client = api_client(redis_url)
    settings = Settings(_env_file=None, redis_url=redis_url)
    await client.zadd("facet:queue:hostile:workers", {"nobody": time.time() * 1000 + 60_000})
    yield JobStore(client, JobKinds([_KIND]), settings, publisher=_Unpublished())
    await client.aclose()


async def waiting_job(redis_url: str) -> str:
    """Id of a job that waits for a worker."""
    async with _store(redis_url) as store:
        return (await store.create(_KIND, {})).id


async def cancelled_job(redis_url: str) -> str:
    """Id of a job that has ended, so that its event stream ends."""
    async with _store(redis_url) as store:
        record = await store.create(_KIND, {})
        await store.request_cancel(record.id)
        return record.id


async def cancel_job(redis_url: str, job: str) -> None:
    """End a job: the last of its events follows at once."""
    async with _store(redis_url) as store:
        await store.request_cancel(job)


async def job_with_file(redis_url: str, blobs: Path, name: str, content: bytes) -> str:
    """Id of a job that has made one file."""
    job = await waiting_job(redis_url)
    settings = Settings(_env_file=None, redis_url=redis_url)
    with worker_client(redis_url) as client:
        attempt = Attempts(client, settings, "by hand").claim(job)
        assert isinstance(attempt, Attempt)
        file = JobFiles(job, BlobStore(blobs)).put(name, content, "application/zip")
        attempt.succeed({"files": {name: file.model_dump()}})
    return job
