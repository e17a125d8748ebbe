"""What callers see of jobs, with no worker in the way: the test claims and ends them itself."""

from __future__ import annotations

import dataclasses

import pytest
import redis

from shared.jobs.attempts import Attempt, Attempts, Refusal
from shared.jobs.heartbeat import Heartbeat
from shared.jobs.identifiers import new_job_id
from shared.jobs.kinds import JobKinds
from shared.jobs.records import JobRecord, JobStatus
from shared.jobs.store import JobStore, open_job_store
from shared.jobs.sweeper import Sweeper
from shared.problems import Conflict, Gone, NotFound, ServiceUnavailable, UnprocessableContent
from shared.request_context import new_context
from shared.settings import Settings
from tests.integration.conftest import free_port
from tests.integration.jobs import job_kinds
from tests.integration.jobs.conftest import QUEUE, Recorder

KIND = job_kinds.COUNT


pytestmark = pytest.mark.usefixtures("alive")


async def create(store: JobStore, count: int, *, owner: str = "ada") -> list[JobRecord]:
    return [await store.create(KIND, {"number": number}, owner=owner) for number in range(count)]


def claim(attempts: Attempts, job_id: str) -> Attempt:
    attempt = attempts.claim(job_id)
    assert isinstance(attempt, Attempt)
    return attempt


async def test_a_new_job_is_recorded_and_then_published(store: JobStore, publisher: Recorder) -> None:
    context = new_context(request_id="r-1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    record = await store.create(KIND, {"steps": 3}, owner="ada", context=context)
    assert record.status is JobStatus.QUEUED
    assert (record.kind, record.queue, record.owner) == (KIND.name, QUEUE, "ada")
    assert (record.arguments, record.queue_position, record.attempt) == ({"steps": 3}, 0, 0)
    assert (record.request_id, record.traceparent) == ("r-1", context.traceparent)
    assert publisher.job_ids == [record.id]


async def test_a_job_that_could_not_be_published_is_published_by_the_sweeper(
    store: JobStore, settings: Settings, publisher: Recorder, sweeper: Sweeper, client: redis.Redis
) -> None:
    class Broken:
        def publish(self, job_id: str, *, queue: str, time_limit_s: int) -> None:
            raise ConnectionError

    broken = JobStore(store.events._redis, JobKinds(()), settings, publisher=Broken())
    record = await broken.create(KIND, {})
    assert sweeper.republish() == [], "it may still be on its way"
    _age_message(client, record.id)
    assert sweeper.republish() == [record.id]
    assert publisher.job_ids == [record.id]
    assert sweeper.republish() == [], "once is enough"


def _age_message(client: redis.Redis, job_id: str) -> None:
    client.zincrby(f"facet:queue:{QUEUE}:waiting", -60_000, job_id)


async def test_a_lost_message_is_noticed_although_the_queue_is_never_empty(
    store: JobStore, attempts: Attempts, sweeper: Sweeper, client: redis.Redis
) -> None:
    lost, later, _ = await create(store, 3)
    client.lpush(f"facet:celery:{QUEUE}", "a message that waits")
    _age_message(client, lost.id)
    assert sweeper.republish() == [], "its message may be among those that wait"
    claim(attempts, later.id)
    assert sweeper.republish() == [lost.id], "the queue has moved past it"


async def test_no_worker_means_no_job(store: JobStore, publisher: Recorder) -> None:
    unread = dataclasses.replace(KIND, queue="perception.onnx")
    with pytest.raises(ServiceUnavailable, match=r"services\.worker --weight onnx") as refusal:
        await store.create(unread, {})
    assert int(refusal.value.headers["Retry-After"]) > 0
    with pytest.raises(ServiceUnavailable, match="make run TORCH=1"):
        await store.create(job_kinds.TORCH, {})
    assert publisher.job_ids == []
    assert (await store.list_jobs()).records == []
    assert (await store.live_workers(QUEUE), await store.live_workers("perception.onnx")) == (1, 0)


async def test_a_worker_that_signs_off_is_gone_at_once(store: JobStore, pulse: Heartbeat) -> None:
    pulse.stop()
    with pytest.raises(ServiceUnavailable):
        await store.create(KIND, {})


async def test_without_redis_the_caller_is_told_so(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    async with open_job_store(nowhere) as store:
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            await store.create(KIND, {})
        with pytest.raises(ServiceUnavailable):
            await store.ping()


@pytest.mark.parametrize("job_id", [new_job_id(), "no-id", "../facet:pace", ""], ids=["unused", "none", "key", "empty"])
async def test_an_unknown_id_is_not_found(store: JobStore, job_id: str) -> None:
    with pytest.raises(NotFound):
        await store.get(job_id)
    with pytest.raises(NotFound):
        await store.wait(job_id, seconds=1)
    with pytest.raises(NotFound):
        await store.request_cancel(job_id)


async def test_a_job_past_its_retention_is_gone_for_its_owner_only(
    store: JobStore, attempts: Attempts, sweeper: Sweeper, client: redis.Redis
) -> None:
    record = await store.create(KIND, {}, owner="ada")
    claim(attempts, record.id).succeed({})
    assert sweeper.expire() == 0
    client.zadd("facet:due", {record.id: 0})
    assert sweeper.expire() == 1
    with pytest.raises(Gone):
        await store.get(record.id, owner="ada")
    with pytest.raises(NotFound):
        await store.get(record.id, owner="eve")
    assert (await store.list_jobs(owner="ada")).records == []
    assert not client.keys(f"facet:job:{record.id}*")
    assert not any(client.zcard(key) for key in ("facet:jobs", "facet:due", "facet:leases"))


async def test_a_job_that_no_worker_takes_expires(store: JobStore, sweeper: Sweeper, client: redis.Redis) -> None:
    record = await store.create(KIND, {})
    client.zadd("facet:due", {record.id: 0})
    assert sweeper.expire() == 1
    record = await store.get(record.id)
    assert record.status is JobStatus.EXPIRED
    assert record.problem is not None
    assert record.problem["status"] == 503
    assert [event.type async for event in store.events.follow(record.id) if event][-1] == "done"


async def test_jobs_of_others_are_not_found(store: JobStore) -> None:
    record = await store.create(KIND, {}, owner="ada")
    assert (await store.get(record.id, owner="ada")).id == record.id
    for attack in (store.get, store.request_cancel):
        with pytest.raises(NotFound):
            await attack(record.id, owner="eve")
    assert (await store.list_jobs(owner="eve")).records == []
    assert (await store.get(record.id)).status is JobStatus.QUEUED


async def test_cancelling_a_queued_job_ends_it_at_once(store: JobStore, attempts: Attempts) -> None:
    record = await store.create(KIND, {})
    assert (await store.request_cancel(record.id)).status is JobStatus.CANCELLED
    assert attempts.claim(record.id) is Refusal.FINISHED
    with pytest.raises(Conflict, match="already been cancelled"):
        await store.request_cancel(record.id)


async def test_listing_is_stable_while_jobs_are_created(store: JobStore) -> None:
    before = await create(store, 7)
    page = await store.list_jobs(owner="ada", limit=3)
    listed = page.records
    while page.next_cursor:
        await create(store, 2)
        page = await store.list_jobs(owner="ada", limit=3, cursor=page.next_cursor)
        listed += page.records
    assert [record.id for record in listed] == [record.id for record in reversed(before)]


async def test_listing_filters(store: JobStore, attempts: Attempts) -> None:
    first, second, third = await create(store, 3)
    claim(attempts, second.id)
    page = await store.list_jobs(status=JobStatus.QUEUED)
    assert ([record.id for record in page.records], page.next_cursor) == ([third.id, first.id], None)
    assert [record.queue_position for record in page.records] == [1, 0]
    assert (await store.list_jobs(kind="another")).records == []
    assert len((await store.list_jobs(kind=KIND.name, status=JobStatus.RUNNING)).records) == 1
    with pytest.raises(UnprocessableContent):
        await store.list_jobs(cursor="made up")


async def test_estimates_come_from_measured_times(store: JobStore, attempts: Attempts, client: redis.Redis) -> None:
    first = await store.create(KIND, {})
    assert first.eta_s is None
    claim(attempts, first.id)
    client.hincrby(f"facet:job:{first.id}", "attempt_at", -10_000)
    Attempt(attempts, first, 1).succeed({})
    second, third = [await store.create(KIND, {}) for _ in range(2)]
    assert second.eta_s == pytest.approx(10, abs=1)
    assert third.eta_s == pytest.approx(20, abs=2)
    attempt = claim(attempts, second.id)
    attempt.note({"step": 3, "total": 10, "step_s": 0.5})
    assert (await store.get(second.id)).eta_s == pytest.approx(3.5)


async def test_the_etag_changes_with_what_is_shown(store: JobStore, attempts: Attempts) -> None:
    first, second = await create(store, 2)
    tags = [(await store.get(second.id)).etag, (await store.get(second.id)).etag]
    assert tags[0] == tags[1]
    attempt = claim(attempts, first.id)
    assert (await store.get(second.id)).etag != tags[0], "it moved up in the queue"
    tags = [(await store.get(first.id)).etag]
    attempt.note()
    assert (await store.get(first.id)).etag == tags[0], "a renewed lease is nothing to see"
    attempt.note({"step": 1})
    assert (await store.get(first.id)).etag != tags[0]
