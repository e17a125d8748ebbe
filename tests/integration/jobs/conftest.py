"""A job store and real workers. Workers of the tests share a database that is never emptied under them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from shared.jobs.store import JobStore, open_job_store
from shared.settings import Settings

ROOT = Path(__file__).parents[3]

StartWorker = Callable[[str], "subprocess.Popen[bytes]"]


def make_settings(url: str, folder: Path) -> Settings:
    return Settings(redis_url=url, blob_url=str(folder), worker_heartbeat_s=0.3, worker_shutdown_grace_s=10)


@pytest.fixture(scope="session")
def fleet_settings(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(f"{redis_server}/1", tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="session")
def start_worker(fleet_settings: Settings) -> Iterator[StartWorker]:
    """Starts a worker for a queue, in a process group of its own, and waits for its first heartbeat."""
    environment = os.environ | {
        "FACET_REDIS_URL": fleet_settings.redis_url,
        "FACET_BLOB_URL": fleet_settings.blob_url,
        "FACET_WORKER_HEARTBEAT_S": str(fleet_settings.worker_heartbeat_s),
        "FACET_WORKER_SHUTDOWN_GRACE_S": str(fleet_settings.worker_shutdown_grace_s),
        "FACET_WORKER_KINDS": "tests.integration.jobs.job_kinds",
    }
    with ExitStack() as stack:

        def start(queue: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "services.worker", "--weight", "onnx", "--queues", queue]
            before = _beats(fleet_settings, queue)
            worker = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
            stack.callback(kill_group, worker)
            while not _beats(fleet_settings, queue) - before:
                assert worker.poll() is None, "the worker did not start"
                time.sleep(0.02)
            return worker

        yield start


def _beats(settings: Settings, queue: str) -> set[str]:
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        return set(client.zrange(f"facet:queue:{queue}:workers", 0, -1))


def kill_group(worker: subprocess.Popen[bytes]) -> None:
    """Kill a worker and its child as the kernel or a node failure would."""
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    worker.wait()


@pytest.fixture(scope="session")
def worker(start_worker: StartWorker) -> subprocess.Popen[bytes]:
    """One worker for all tests that leave it alive."""
    return start_worker("medical.onnx")


@pytest.fixture
async def jobs(fleet_settings: Settings) -> AsyncIterator[JobStore]:
    """The store that the workers work for."""
    async with open_job_store(fleet_settings) as store:
        yield store


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings on an empty database, where tests play the worker themselves."""
    return make_settings(redis_url, tmp_path)
