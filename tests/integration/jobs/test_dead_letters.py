"""Jobs that were given up can be found and tried again; an attempt from before can still not write."""

from __future__ import annotations

import pytest
import redis

from shared.jobs.attempts import Attempt, Attempts
from shared.jobs.interrupts import FencedOut
from shared.jobs.records import JobStatus
from shared.jobs.store import JobStore
from shared.jobs.sweeper import Sweeper
from shared.problems import Conflict, NotFound, QuotaExceeded, ServiceUnavailable, UnprocessableContent
from shared.request_context import bound, new_context
from shared.settings import Settings
from tests.integration.jobs import job_kinds
from tests.integration.jobs.conftest import QUEUE, Recorder

KIND = job_kinds.COUNT

pytestmark = pytest.mark.usefixtures("alive")


def claim(attempts: Attempts, job_id: str) -> Attempt:
    attempt = attempts.claim(job_id)
    assert isinstance(attempt, Attempt)
    return attempt


def lose(client: redis.Redis, sweeper: Sweeper, job_id: str) -> None:
    client.zadd("facet:leases", {job_id: 1})
    sweeper._reclaim(job_id)


async def lose_for_good(
    store: JobStore, attempts: Attempts, sweeper: Sweeper, client: redis.Redis
) -> tuple[str, list[Attempt]]:
    record = await store.create(KIND, {}, owner="ada")
    made = []
    for _ in range(3):
        made.append(claim(attempts, record.id))
        if len(made) == 1:
            made[0].note({"checkpoint": "digest application/json"})
        lose(client, sweeper, record.id)
    return record.id, made


async def test_a_job_that_lost_too_many_workers_is_a_dead_letter(
    store: JobStore, attempts: Attempts, sweeper: Sweeper, client: redis.Redis, settings: Settings
) -> None:
    job_id, _ = await lose_for_good(store, attempts, sweeper, client)
    [letter] = await store.dead_letters()
    assert (letter.id, letter.status, letter.dead) == (job_id, JobStatus.FAILED, "lost workers")
    assert letter.expires_at is not None
    assert letter.finished_at is not None
    assert (letter.expires_at - letter.finished_at).total_seconds() == settings.dead_letter_retention_s


async def test_a_job_that_was_killed_by_its_time_limit_is_a_dead_letter(
    store: JobStore, attempts: Attempts, sweeper: Sweeper, client: redis.Redis
) -> None:
    record = await store.create(KIND, {})
    claim(attempts, record.id)
    client.hset(f"facet:job:{record.id}", "attempt_at", 1)
    lose(client, sweeper, record.id)
    [letter] = await store.dead_letters()
    assert letter.dead == "time limit"


async def test_a_job_that_failed_by_itself_is_no_dead_letter(store: JobStore, attempts: Attempts) -> None:
    record = await store.create(KIND, {})
    claim(attempts, record.id).fail(UnprocessableContent("no slices"))
    assert await store.dead_letters() == []


async def test_a_retry_is_a_further_attempt_from_the_checkpoint(
    store: JobStore, attempts: Attempts, sweeper: Sweeper, client: redis.Redis, publisher: Recorder
) -> None:
    job_id, earlier = await lose_for_good(store, attempts, sweeper, client)
    publisher.job_ids.clear()
    record = await store.retry(job_id, owner="ada")
    assert (record.status, record.problem, record.finished_at, record.dead) == (JobStatus.QUEUED, None, None, None)
    assert (record.queue_position, record.lost_workers, publisher.job_ids) == (0, 0, [job_id])
    assert await store.dead_letters() == []

    attempt = claim(attempts, job_id)
    assert (attempt.token, attempt.record.checkpoint) == (4, "digest application/json")
    for old in earlier:
        with pytest.raises(FencedOut):
            old.succeed({"by": "a late twin"})
    attempt.succeed({"by": "the retry"})
    assert (await store.get(job_id)).result == {"by": "the retry"}


async def test_what_a_cancelled_job_had_found_is_kept_until_it_is_retried(store: JobStore, attempts: Attempts) -> None:
    record = await store.create(KIND, {}, owner="ada")
    claim(attempts, record.id).cancelled({"so": "far"})
    cancelled = await store.get(record.id)
    assert (cancelled.status, cancelled.result) == (JobStatus.CANCELLED, {"so": "far"})
    assert (await store.retry(record.id)).result is None
    claim(attempts, record.id).cancelled()
    assert (await store.get(record.id)).result is None


async def test_who_had_read_to_the_end_reads_on_after_a_retry(store: JobStore, attempts: Attempts) -> None:
    record = await store.create(KIND, {})
    claim(attempts, record.id).fail(UnprocessableContent("no slices"))
    seen = [event async for event in store.events.follow(record.id) if event]
    assert await store.events.is_over(record.id, after=seen[-1].id)
    await store.retry(record.id)
    assert not await store.events.is_over(record.id, after=seen[-1].id)
    claim(attempts, record.id).succeed({})
    more = [event async for event in store.events.follow(record.id, after=seen[-1].id) if event]
    assert [event.data.get("status") for event in more] == ["queued", "running", "succeeded", "succeeded"]
    whole = [event async for event in store.events.follow(record.id) if event]
    assert [event.type for event in whole].count("done") == 1
    assert [event.id for event in whole] == [event.id for event in [*seen[:-1], *more]]


async def test_a_cancelled_and_an_expired_job_can_be_retried(
    store: JobStore, attempts: Attempts, sweeper: Sweeper, client: redis.Redis
) -> None:
    cancelled, expired = [await store.create(KIND, {}) for _ in range(2)]
    await store.request_cancel(cancelled.id)
    client.zadd("facet:due", {expired.id: 1})
    sweeper.expire()
    for record in (cancelled, expired):
        await store.retry(record.id)
        attempt = claim(attempts, record.id)
        assert attempt.note() is False, "the cancel of before is forgotten"
        attempt.succeed({})


async def test_what_cannot_be_retried(store: JobStore, attempts: Attempts, client: redis.Redis) -> None:
    record = await store.create(KIND, {}, owner="ada")
    with pytest.raises(Conflict, match="not finished"):
        await store.retry(record.id)
    with pytest.raises(NotFound):
        await store.retry(record.id, owner="bob")
    claim(attempts, record.id).succeed({})
    with pytest.raises(Conflict, match="succeeded"):
        await store.retry(record.id)


async def test_a_retry_needs_a_worker_and_a_place(store: JobStore, client: redis.Redis) -> None:
    first, second = [await store.create(KIND, {}, owner="ada") for _ in range(2)]
    await store.request_cancel(first.id)
    with bound(new_context().on_behalf_of("ada", job_limit="1")), pytest.raises(QuotaExceeded, match=second.id):
        await store.retry(first.id, owner="ada")
    client.delete(f"facet:queue:{QUEUE}:workers")
    with pytest.raises(ServiceUnavailable, match="No worker"):
        await store.retry(first.id)


async def test_a_dead_letter_past_its_retention_leaves_the_list(
    store: JobStore, attempts: Attempts, sweeper: Sweeper, client: redis.Redis
) -> None:
    job_id, _ = await lose_for_good(store, attempts, sweeper, client)
    client.zadd("facet:due", {job_id: 1})
    sweeper.expire()
    assert client.zcard("facet:dead") == 0
