"""A worker that lives and does nothing ends itself, whichever way its consumer went wrong."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from shared.jobs.celery_app import KEY_PREFIX
from shared.jobs.connection import worker_client
from shared.jobs.watchdog import EXIT_CODE, Watchdog, WorkerSnapshot, snapshot_of
from shared.settings import Settings
from tests.integration.conftest import free_port
from tests.integration.jobs.conftest import ROOT, kill_group
from tests.integration.jobs.stuck_worker import QUEUE

WELL = WorkerSnapshot(beats=1, received=0, computing=False, waiting=False)


@contextmanager
def worker_that(fault: str, settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "FACET_REDIS_URL": settings.redis_url,
        "FACET_BLOB_URL": settings.blob_url,
        "FACET_WORKER_HEARTBEAT_S": "0.2",
        "FACET_WORKER_STUCK_AFTER_S": "2",
    }
    command = [sys.executable, "-m", "tests.integration.jobs.stuck_worker", fault]
    worker = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        yield worker
    finally:
        kill_group(worker)


def test_a_worker_whose_consumer_hangs_ends_itself(settings: Settings) -> None:
    with worker_that("hang", settings) as worker:
        assert worker.wait(timeout=40) == EXIT_CODE


def test_a_worker_that_takes_no_messages_ends_itself(settings: Settings, client: redis.Redis) -> None:
    with worker_that("deaf", settings) as worker:
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(timeout=6)  # with nothing to take it is as idle as any other
        client.lpush(KEY_PREFIX + QUEUE, "a message that waits")
        assert worker.wait(timeout=40) == EXIT_CODE


def faults(*snapshots: WorkerSnapshot | redis.RedisError) -> list[str | None]:
    left = iter(snapshots)

    def look() -> WorkerSnapshot:
        snapshot = next(left)
        if isinstance(snapshot, redis.RedisError):
            raise snapshot
        return snapshot

    watchdog = Watchdog(look, patience=2)
    return [watchdog.fault() for _ in snapshots]


def beating(count: int, **changes: object) -> list[WorkerSnapshot]:
    return [dataclasses.replace(WELL, beats=number, **changes) for number in range(1, count + 1)]  # type: ignore[arg-type]


def test_a_worker_that_beats_is_well() -> None:
    assert not any(faults(*beating(5)))


def test_a_worker_that_computes_for_long_is_well() -> None:
    assert not any(faults(*beating(5, computing=True, waiting=True)))


def test_a_worker_that_has_not_begun_is_not_judged() -> None:
    assert not any(faults(*[dataclasses.replace(WELL, beats=0)] * 5))


def test_silence_counts_only_while_redis_answers() -> None:
    assert faults(WELL, WELL, redis.ConnectionError(), WELL, WELL, WELL)[-2:] == [None, "its consumer stands still"]


def test_who_takes_one_message_after_the_other_is_well() -> None:
    assert not any(faults(*(dataclasses.replace(WELL, beats=n, received=n, waiting=True) for n in range(1, 6))))


def test_nothing_can_be_seen_without_redis() -> None:
    client = worker_client(f"redis://127.0.0.1:{free_port()}/0", retries=0)
    with pytest.raises(redis.ConnectionError):
        snapshot_of(client, [QUEUE], lambda: 1)()
