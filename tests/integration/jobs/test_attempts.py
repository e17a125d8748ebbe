"""Leases and fencing: who may write, and what happens to those who may not any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
import redis
from prometheus_client import CollectorRegistry

from shared.jobs.attempts import Attempt, Attempts, Refusal
from shared.jobs.context import JobContext
from shared.jobs.events import JobEvent
from shared.jobs.interrupts import FencedOut, GivenBack, JobCancelled
from shared.jobs.lease import Lease
from shared.jobs.metrics import register_job_metrics
from shared.jobs.records import JobRecord, JobStatus
from shared.jobs.store import JobStore
from shared.jobs.sweeper import Sweeper
from shared.problems import NotFound
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.integration.jobs import job_kinds
from tests.integration.jobs.conftest import QUEUE, Recorder


@pytest.fixture
async def record(store: JobStore, alive: None) -> JobRecord:
    return await store.create(job_kinds.COUNT, {"steps": 3})


@pytest.fixture(autouse=True)
def _redis_has_been_up_for_a_while(client: redis.Redis, settings: Settings) -> None:
    """A sweeper takes no job from anybody right after a restart of Redis."""
    while client.info("server")["uptime_in_seconds"] <= settings.worker_gone_after_s:
        time.sleep(0.1)


def claim(attempts: Attempts, record: JobRecord) -> Attempt:
    attempt = attempts.claim(record.id)
    assert isinstance(attempt, Attempt)
    return attempt


def lose_lease(client: redis.Redis, record: JobRecord) -> None:
    client.zadd("facet:leases", {record.id: 0})


def test_only_one_attempt_gets_a_job(attempts: Attempts, record: JobRecord) -> None:
    attempt = claim(attempts, record)
    assert (attempt.token, attempt.record.status) == (1, JobStatus.RUNNING)
    assert attempts.claim(record.id) is Refusal.HELD
    attempt.succeed({"answer": 42})
    assert attempts.claim(record.id) is Refusal.FINISHED
    assert attempts.claim("unknown") is Refusal.UNKNOWN


LATE_WRITES: dict[str, Callable[[Attempt], object]] = {
    "note": lambda attempt: attempt.note({"step": 9}),
    "succeed": lambda attempt: attempt.succeed({"late": True}),
    "fail": lambda attempt: attempt.fail(NotFound("late")),
    "cancelled": lambda attempt: attempt.cancelled(),
    "release": lambda attempt: attempt.release(),
}


@pytest.mark.parametrize("write", LATE_WRITES.values(), ids=LATE_WRITES)
async def test_a_late_twin_cannot_write(
    store: JobStore,
    attempts: Attempts,
    sweeper: Sweeper,
    client: redis.Redis,
    publisher: Recorder,
    record: JobRecord,
    write: Callable[[Attempt], object],
) -> None:
    late = claim(attempts, record)
    lose_lease(client, record)
    assert sweeper.reclaim() == {record.id: "queued"}
    assert publisher.job_ids == [record.id, record.id]
    with pytest.raises(FencedOut):
        write(late)
    twin = claim(attempts, record)
    with pytest.raises(FencedOut):
        write(late)
    twin.succeed({"by": "the twin"})
    with pytest.raises(FencedOut):
        write(late)
    found = await store.get(record.id)
    assert (found.status, found.result, found.attempt) == (JobStatus.SUCCEEDED, {"by": "the twin"}, 2)
    events = [event async for event in store.events.follow(record.id) if event]
    assert [event.type for event in events].count("done") == 1


def test_a_renewed_lease_is_not_taken(
    attempts: Attempts, sweeper: Sweeper, client: redis.Redis, record: JobRecord
) -> None:
    attempt = claim(attempts, record)
    lose_lease(client, record)
    attempt.note()
    assert sweeper.reclaim() == {}


async def test_a_cancelled_job_of_a_lost_worker_is_cancelled(
    store: JobStore, attempts: Attempts, sweeper: Sweeper, client: redis.Redis, record: JobRecord
) -> None:
    claim(attempts, record)
    await store.request_cancel(record.id)
    lose_lease(client, record)
    assert sweeper.reclaim() == {record.id: "cancelled"}


async def test_a_job_killed_by_its_hard_limit_is_not_tried_again(
    store: JobStore, attempts: Attempts, sweeper: Sweeper, client: redis.Redis, record: JobRecord
) -> None:
    claim(attempts, record)
    client.hset(f"facet:job:{record.id}", "attempt_at", 0)
    lose_lease(client, record)
    assert sweeper.reclaim() == {record.id: "failed"}
    problem = (await store.get(record.id)).problem
    assert problem is not None
    assert (problem["status"], problem["instance"]) == (504, f"/v1/jobs/{record.id}")


def test_the_lease_outlasts_a_long_step(
    attempts: Attempts, sweeper: Sweeper, settings: Settings, record: JobRecord
) -> None:
    with Lease(claim(attempts, record), every_s=0.05):
        time.sleep(1.5 * settings.worker_gone_after_s)
        assert sweeper.reclaim() == {}


class Working:
    """A job function's view of an attempt, with a drain that a test can open."""

    def __init__(self, attempt: Attempt, settings: Settings) -> None:
        self.draining = False
        self.lease = Lease(attempt, every_s=60)
        self.context = JobContext(attempt, BlobStore(settings.blob_url), self.lease, lambda: self.draining)


@pytest.fixture
def working(attempts: Attempts, record: JobRecord, settings: Settings) -> Working:
    return Working(claim(attempts, record), settings)


@pytest.mark.parametrize("state", [b"\x00\xff", {"done": [1, 2]}, [1], "text", 7])
def test_a_checkpoint_comes_back_as_it_went(
    working: Working, attempts: Attempts, client: redis.Redis, sweeper: Sweeper, settings: Settings, state: object
) -> None:
    assert working.context.restore() is None
    working.context.checkpoint(state)
    assert working.context.restore() == state
    record = working.context._attempt.record
    lose_lease(client, record)
    sweeper.reclaim()
    assert Working(claim(attempts, record), settings).context.restore() == state


async def test_each_call_of_the_context_learns_of_a_cancel(store: JobStore, working: Working) -> None:
    await store.request_cancel(working.context.job_id)
    calls: list[Callable[[], object]] = [
        lambda: working.context.progress(1, 3),
        lambda: working.context.log("text"),
        lambda: working.context.preview(b"", "image/png"),
        lambda: working.context.checkpoint({}),
    ]
    for call in calls:
        with pytest.raises(JobCancelled):
            call()


async def test_a_pause_lasts_as_long_as_it_is_to_and_ends_with_a_cancel(store: JobStore, working: Working) -> None:
    began = time.monotonic()
    working.context.pause(0.15)
    assert 0.15 <= time.monotonic() - began < 10
    cancelling = asyncio.create_task(store.request_cancel(working.context.job_id))
    began = time.monotonic()
    with pytest.raises(JobCancelled):
        await asyncio.to_thread(working.context.pause, 60)
    assert time.monotonic() - began < 5
    await cancelling


def test_a_pause_ends_with_its_worker(working: Working) -> None:
    working.draining = True
    with pytest.raises(GivenBack):
        working.context.pause(60)


async def test_progress_is_written_sparingly(store: JobStore, working: Working) -> None:
    for step in range(2001):
        working.context.progress(step, 2000)
    events = [event async for event in _so_far(store, working.context.job_id)]
    steps = [event.data["step"] for event in events if event.type == "progress"]
    assert (steps[0], steps[-1]) == (0, 2000)
    assert len(steps) < 500
    assert (await store.get(working.context.job_id)).progress.step == 2000


async def _so_far(store: JobStore, job_id: str) -> AsyncIterator[JobEvent]:
    async for event in store.events.follow(job_id, idle_s=0.05):
        if event is None:
            return
        yield event


def test_a_draining_worker_gives_back_after_the_next_checkpoint(working: Working) -> None:
    working.context.checkpoint({"done": 1})
    working.draining = True
    working.context.progress(1, 3)
    with pytest.raises(GivenBack):
        working.context.checkpoint({"done": 2})


def test_a_draining_worker_gives_back_what_never_checkpoints_at_its_next_step(working: Working) -> None:
    working.draining = True
    with pytest.raises(GivenBack):
        working.context.progress(1, 3)


async def test_a_cancelled_job_is_not_given_back(store: JobStore, working: Working) -> None:
    await store.request_cancel(working.context.job_id)
    assert not working.context._attempt.release()
    assert (await store.get(working.context.job_id)).status is JobStatus.CANCELLED


async def test_following_resumes_from_any_event_and_ends_with_done(store: JobStore, working: Working) -> None:
    for number in range(5):
        working.context.log(str(number))
    working.context._attempt.succeed({})
    events = [event async for event in store.events.follow(working.context.job_id) if event]
    for index, event in enumerate(events):
        rest = [later async for later in store.events.follow(working.context.job_id, after=event.id)]
        assert rest == events[index + 1 :]


async def test_done_survives_however_many_events_there_were(store: JobStore, working: Working) -> None:
    for number in range(1500):
        working.context.log(str(number))
    working.context._attempt.succeed({})
    events = [event async for event in store.events.follow(working.context.job_id) if event]
    assert 1000 <= len(events) < 1300
    assert events[-1].type == "done"


def test_metrics(settings: Settings, working: Working) -> None:
    registry = CollectorRegistry()
    register_job_metrics(registry, settings)
    assert registry.get_sample_value("facet_jobs_running") == 1
    assert registry.get_sample_value("facet_jobs_dead") == 0
    assert registry.get_sample_value("facet_jobs_waiting", {"queue": QUEUE}) == 0
    assert registry.get_sample_value("facet_job_workers", {"queue": QUEUE}) == 1
    working.context._attempt.succeed({})
    labels = {"kind": job_kinds.COUNT.name, "status": "succeeded"}
    assert registry.get_sample_value("facet_jobs_total", labels) == 1
