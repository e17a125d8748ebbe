"""A job store and real workers. Workers of the tests share a database that is never emptied under them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import redis

from shared.jobs.attempts import Attempts
from shared.jobs.connection import api_client, worker_client
from shared.jobs.heartbeat import Heartbeat
from shared.jobs.kinds import JobKinds
from shared.jobs.store import JobStore, open_job_store
from shared.jobs.sweeper import Sweeper
from shared.settings import Settings

QUEUE = "medical.onnx"

ROOT = Path(__file__).parents[3]

StartWorker = Callable[[str], "subprocess.Popen[bytes]"]


def make_settings(url: str, folder: Path) -> Settings:
    return Settings(redis_url=url, blob_url=str(folder), worker_heartbeat_s=0.3, worker_shutdown_grace_s=10)


@pytest.fixture(scope="session")
def fleet_settings(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(f"{redis_server}/1", tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="session")
def start_worker(fleet_settings: Settings) -> Iterator[StartWorker]:
    """Starts a worker for queues, in a process group of its own, and waits for its first heartbeat."""
    environment = os.environ | {
        "FACET_REDIS_URL": fleet_settings.redis_url,
        "FACET_BLOB_URL": fleet_settings.blob_url,
        "FACET_WORKER_HEARTBEAT_S": str(fleet_settings.worker_heartbeat_s),
        "FACET_WORKER_SHUTDOWN_GRACE_S": str(fleet_settings.worker_shutdown_grace_s),
        "FACET_WORKER_KINDS": "tests.integration.jobs.job_kinds",
    }
    with ExitStack() as stack:

        def start(queues: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "services.worker", "--weight", "onnx", "--queues", queues]
            queue = queues.partition(",")[0]
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
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


@pytest.fixture(scope="session")
def worker(start_worker: StartWorker) -> subprocess.Popen[bytes]:
    """One worker for all tests that leave it alive; what it reads besides is what it inherits from killed ones."""
    return start_worker("medical.onnx,security.onnx")


@pytest.fixture
async def jobs(fleet_settings: Settings) -> AsyncIterator[JobStore]:
    """The store that the workers work for."""
    async with open_job_store(fleet_settings) as store:
        yield store


class Recorder:
    """A publisher that keeps what it was told, so that a test can lose or double messages."""

    def __init__(self) -> None:
        self.job_ids: list[str] = []

    def publish(self, job_id: str, *, queue: str, time_limit_s: int) -> None:
        self.job_ids.append(job_id)


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings on an empty database, where tests play the worker themselves."""
    return make_settings(redis_url, tmp_path)


@pytest.fixture
def client(settings: Settings) -> Iterator[redis.Redis]:
    with worker_client(settings.redis_url) as client:
        yield client


@pytest.fixture
def publisher() -> Recorder:
    return Recorder()


@pytest.fixture
def sweeper(client: redis.Redis, publisher: Recorder, settings: Settings) -> Sweeper:
    return Sweeper(client, publisher, settings)


@pytest.fixture
def attempts(client: redis.Redis, settings: Settings) -> Attempts:
    return Attempts(client, settings, "the test")


@pytest.fixture
def pulse(client: redis.Redis, sweeper: Sweeper, settings: Settings) -> Heartbeat:
    """The heartbeat of a worker for QUEUE."""
    return Heartbeat(client, sweeper, settings, worker="the test", queues=(QUEUE,))


@pytest.fixture
def alive(client: redis.Redis) -> None:
    """As if a worker for QUEUE beat for the whole test."""
    client.zadd(f"facet:queue:{QUEUE}:workers", {"the test": 1e15})
    client.sadd("facet:queues", QUEUE)


@pytest.fixture
async def store(settings: Settings, publisher: Recorder) -> AsyncIterator[JobStore]:
    """A store on an empty database whose messages go to the recorder."""
    redis = api_client(settings.redis_url)
    yield JobStore(redis, JobKinds(()), settings, publisher=publisher)
    await redis.aclose()
