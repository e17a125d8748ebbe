"""Which jobs are taken: one for each creation key, no more than a caller may have, no more than may wait."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
import redis

from shared.jobs.attempts import Attempt, Attempts
from shared.jobs.records import JobStatus
from shared.jobs.store import JobStore
from shared.jobs.sweeper import Sweeper
from shared.problems import QuotaExceeded, ReducedCapacity
from shared.request_context import RequestContext, new_context
from tests.integration.jobs import job_kinds
from tests.integration.jobs.conftest import Recorder

KIND = job_kinds.COUNT
NARROW = dataclasses.replace(KIND, name="test.narrow", queue_limit=2)

pytestmark = pytest.mark.usefixtures("alive")


def context_of(caller: str = "ada", *, key: str | None = None, limit: int | None = None) -> RequestContext:
    said = None if limit is None else str(limit)
    return new_context().on_behalf_of(caller, creation_key=key, job_limit=said)


def claim(attempts: Attempts, job_id: str) -> Attempt:
    attempt = attempts.claim(job_id)
    assert isinstance(attempt, Attempt)
    return attempt


async def test_requests_with_one_creation_key_make_one_job(store: JobStore, publisher: Recorder) -> None:
    context = context_of(key="a" * 64)
    made = await asyncio.gather(*(store.create(KIND, {"number": number}, context=context) for number in range(8)))
    assert len({record.id for record in made}) == 1
    assert publisher.job_ids == [made[0].id]
    other = await store.create(KIND, {}, context=context_of(key="b" * 64))
    assert other.id != made[0].id
    assert len((await store.list_jobs()).records) == 2


async def test_a_creation_key_finds_its_finished_job_too(store: JobStore, attempts: Attempts) -> None:
    context = context_of(key="a" * 64)
    record = await store.create(KIND, {}, context=context)
    claim(attempts, record.id).succeed({"answer": 42})
    again = await store.create(KIND, {}, context=context)
    assert (again.id, again.status, again.result) == (record.id, JobStatus.SUCCEEDED, {"answer": 42})


async def test_a_creation_key_is_remembered_for_its_time(store: JobStore, client: redis.Redis) -> None:
    await store.create(KIND, {}, context=context_of(key="a" * 64))
    assert 23 * 3600 < client.ttl(f"facet:once:{'a' * 64}") <= 24 * 3600


async def test_a_creation_that_is_sent_twice_does_not_reset_the_job(store: JobStore, attempts: Attempts) -> None:
    record = await store.create(KIND, {})
    claim(attempts, record.id)
    sent_again = [record.id, KIND.queue, "anonymous", 1000, 1000, "", 1000, "", KIND.name, 10, "title", "again"]
    assert await store._run("create", *sent_again) == ["existing", record.id]
    assert (await store.get(record.id)).status is JobStatus.RUNNING


async def test_a_caller_has_no_more_unfinished_jobs_than_allowed(store: JobStore, attempts: Attempts) -> None:
    context = context_of(limit=2)
    outcomes = await asyncio.gather(
        *(store.create(KIND, {}, context=context) for _ in range(6)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, QuotaExceeded)]
    made = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert (len(made), len(refused)) == (2, 4)
    assert refused[0].details().violated_policies == ["concurrent-jobs"]
    oldest = min(record.id for record in made)
    assert oldest in refused[0].detail
    await store.create(KIND, {}, context=context_of("bob", limit=2))

    attempt = claim(attempts, oldest)
    with pytest.raises(QuotaExceeded):  # a running job is unfinished too
        await store.create(KIND, {}, context=context)
    attempt.succeed({})
    await store.create(KIND, {}, context=context)


async def test_the_limit_of_jobs_answers_when_the_oldest_should_end(store: JobStore, client: redis.Redis) -> None:
    client.hset("facet:pace", mapping={f"kind:{KIND.name}": "12.3", f"queue:{KIND.queue}": "12.3"})
    context = context_of(limit=1)
    await store.create(KIND, {}, context=context)
    with pytest.raises(QuotaExceeded) as refusal:
        await store.create(KIND, {}, context=context)
    assert refusal.value.headers["Retry-After"] == "13"


@pytest.mark.parametrize("way", ["cancelled", "failed", "lost", "expired"])
async def test_however_a_job_ends_its_places_are_free(
    store: JobStore, attempts: Attempts, sweeper: Sweeper, client: redis.Redis, way: str
) -> None:
    record = await store.create(KIND, {}, context=context_of(limit=1))
    if way == "cancelled":
        await store.request_cancel(record.id)
    elif way == "failed":
        claim(attempts, record.id).fail(ReducedCapacity("no"))
    elif way == "expired":
        client.zadd("facet:due", {record.id: 1})
        sweeper.expire()
    else:
        claim(attempts, record.id)
        client.hset(f"facet:job:{record.id}", "lost", 99)
        client.zadd("facet:leases", {record.id: 1})
        sweeper._reclaim(record.id)
    assert (await store.get(record.id)).status.is_final
    assert not client.exists("facet:unfinished:ada", f"facet:kind:{KIND.name}:waiting")
    await store.create(KIND, {}, context=context_of(limit=1))


async def test_a_full_kind_is_refused_and_others_are_not(store: JobStore, attempts: Attempts) -> None:
    outcomes = await asyncio.gather(*(store.create(NARROW, {}) for _ in range(5)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, ReducedCapacity)]
    assert len(refused) == 3
    assert refused[0].details().type.endswith("#temporary-reduced-capacity")
    assert "No run has been measured" in refused[0].detail
    await store.create(KIND, {})
    waiting = next(record for record in outcomes if not isinstance(record, BaseException))
    attempt = claim(attempts, waiting.id)
    await store.create(NARROW, {})
    assert attempt.release(), "an accepted job goes back into a full queue"
    with pytest.raises(ReducedCapacity):
        await store.create(NARROW, {})


@pytest.mark.parametrize(
    ("paces", "workers", "seconds", "basis"),
    [
        ({"kind:test.narrow": "30.0", "queue:medical.onnx": "90.0"}, 1, "30", "this kind have taken 30.0 s"),
        ({"kind:test.narrow": "30.0"}, 3, "10", "workers: 3"),
        ({"queue:medical.onnx": "90.0"}, 1, "90", "jobs of its queue have taken 90.0 s"),
        ({"kind:test.narrow": "0.001"}, 1, "1", "about 1 s"),
        ({"kind:test.narrow": "90000"}, 1, "600", "about 600 s"),
    ],
)
async def test_a_full_kind_answers_when_a_place_should_free(
    store: JobStore, client: redis.Redis, paces: dict[str, str], workers: int, seconds: str, basis: str
) -> None:
    for field, pace in paces.items():
        client.hset("facet:pace", field, pace)
    for number in range(1, workers):
        client.zadd("facet:queue:medical.onnx:workers", {f"worker {number}": 1e15})
    for _ in range(2):
        await store.create(NARROW, {})
    with pytest.raises(ReducedCapacity) as refusal:
        await store.create(NARROW, {})
    assert refusal.value.headers["Retry-After"] == seconds
    assert basis in refusal.value.detail


async def test_the_operator_overrules_the_limits_of_kinds(store: JobStore) -> None:
    store._settings = store._settings.model_copy(update={"job_queue_limit": 1})
    await store.create(KIND, {})
    with pytest.raises(ReducedCapacity):
        await store.create(KIND, {})
