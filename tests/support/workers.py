"""A service, its worker processes and the stores that they share, for tests of jobs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx

from shared.jobs.files import StoredFile
from shared.jobs.records import JobRecord, JobStatus
from shared.jobs.store import JobStore
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.integration.jobs.conftest import kill_group

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
_SHARED = (
    "redis_url", "blob_url", "models", "perception_url", "uncertainty_url", "worker_heartbeat_s", "inference_threads",
)  # fmt: skip


def start_worker(settings: Settings, queue: str) -> subprocess.Popen[bytes]:
    """A worker process for a queue that shares these settings; to be killed with its group."""
    shared = {name: getattr(settings, name) for name in _SHARED}
    environment = {f"FACET_{name.upper()}": str(value) for name, value in shared.items() if value is not None}
    command = [sys.executable, "-m", "services.worker", "--weight", queue.rpartition(".")[2], "--queues", queue]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, start_new_session=True)


async def until_attended(jobs: JobStore, queue: str, worker: subprocess.Popen[bytes] | None = None) -> None:
    """Wait for a worker: without one, no job is taken."""
    async with asyncio.timeout(PATIENCE_S):
        while not await jobs.live_workers(queue):
            assert worker is None or worker.poll() is None, "the worker did not start"
            await asyncio.sleep(0.02)


@dataclass(frozen=True)
class JobBench:
    """The service, and what it shares with workers."""

    QUEUE: ClassVar[str]

    client: httpx.AsyncClient
    jobs: JobStore
    blobs: BlobStore
    settings: Settings

    async def finish(self, job_id: str) -> JobRecord:
        return await self.jobs.wait(job_id, seconds=PATIENCE_S)

    async def result(self, job_id: str) -> dict[str, Any]:
        """The result of a job that succeeds."""
        record = await self.finish(job_id)
        assert record.status is JobStatus.SUCCEEDED, record.problem
        assert record.result is not None
        return record.result

    def file(self, result: Mapping[str, Any], name: str) -> bytes:
        """A file of a result."""
        return self.blobs.get(StoredFile.model_validate(result["files"][name]).digest)

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process, which is killed at the end."""
        started = start_worker(self.settings, self.QUEUE)
        try:
            yield started
        finally:
            kill_group(started)

    async def until_attended(self) -> None:
        """As the function of this name."""
        await until_attended(self.jobs, self.QUEUE)

    async def until_begun(self, job_id: str) -> None:
        """Wait until it has a checkpoint."""
        async with asyncio.timeout(PATIENCE_S):
            while (record := await self.jobs.get(job_id)).checkpoint is None:
                assert not record.status.is_final, record.problem
                await asyncio.sleep(0.005)

    def report(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """The file report.json, which the result holds too."""
        found: dict[str, Any] = json.loads(self.file(result, "report.json"))
        assert found == result["report"]
        return found
