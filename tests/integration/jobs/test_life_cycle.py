"""The life of jobs as a state machine: any order of steps that Hypothesis finds, beside a model of what should be.

The store, the attempts and the sweeper are the real ones on a real Redis. Time passes by setting a lease or a due date
to the past, which is all that the scripts know of time.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.jobs.attempts import Attempt, Attempts, Refusal
from shared.jobs.connection import api_client, worker_client
from shared.jobs.interrupts import FencedOut
from shared.jobs.kinds import JobKind, JobKinds
from shared.jobs.records import JobStatus
from shared.jobs.store import JobStore
from shared.jobs.sweeper import Sweeper
from shared.problems import Conflict, UnprocessableContent
from shared.request_context import new_context
from shared.settings import Settings

QUEUE = "medical.onnx"
KIND = JobKind(name="test.life", queue=QUEUE, function="tests:none", title="A life")
OWNER = "ada"
LOST_LIMIT = 2
MOST_JOBS = 2
"""Few, so that each lives a long life."""


class Unpublished:
    def publish(self, job_id: str, *, queue: str, time_limit_s: int) -> None:
        pass


@dataclass
class Expected:
    """What should be known of a job."""

    status: JobStatus = JobStatus.QUEUED
    attempt: int = 0
    lost: int = 0
    cancelled: bool = False
    dead: bool = False
    attempts: list[Attempt] = field(default_factory=list)

    def end(self, status: JobStatus) -> None:
        self.status = status


class Life(RuleBasedStateMachine):
    """Every rule does something to a job and to the model of it; the invariants compare the two."""

    url: ClassVar[str]
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        known = Settings(_env_file=None, redis_url=self.url, job_lost_workers_limit=LOST_LIMIT, worker_heartbeat_s=0.7)
        self.redis = worker_client(self.url)
        self.redis.flushdb()
        self.redis.zadd(f"facet:queue:{QUEUE}:workers", {"w": 1e15})
        self.api = api_client(self.url)
        self.store = JobStore(self.api, JobKinds([KIND]), known, publisher=Unpublished())
        self.attempts = Attempts(self.redis, known, "w")
        self.sweeper = Sweeper(self.redis, Unpublished(), known)
        self.expected: dict[str, Expected] = {}
        self.by_key: dict[str, str] = {}

    def teardown(self) -> None:
        self.runner.run(self.api.aclose())
        self.runner.close()
        self.redis.close()

    @precondition(lambda self: len(self.expected) < MOST_JOBS)
    @rule(target=jobs)
    def create(self) -> str:
        job = self.runner.run(self.store.create(KIND, {}, owner=OWNER)).id
        self.expected[job] = Expected()
        return job

    @precondition(lambda self: len(self.expected) < MOST_JOBS)
    @rule(target=jobs, key=st.sampled_from(["0" * 64, "1" * 64]))
    def create_with_a_key(self, key: str) -> Any:
        context = new_context().on_behalf_of(OWNER, creation_key=key)
        job = self.runner.run(self.store.create(KIND, {}, context=context)).id
        if key in self.by_key:
            assert job == self.by_key[key]
            return multiple()
        assert job not in self.expected
        self.by_key[key] = job
        self.expected[job] = Expected()
        return job

    @rule(job=jobs)
    def claim(self, job: str) -> None:
        known, claimed = self.expected[job], self.attempts.claim(job)
        if known.status is JobStatus.QUEUED:
            assert isinstance(claimed, Attempt)
            known.attempt += 1
            assert claimed.token == known.attempt
            known.attempts.append(claimed)
            known.status = JobStatus.RUNNING
        else:
            assert claimed is (Refusal.HELD if known.status is JobStatus.RUNNING else Refusal.FINISHED)

    @rule(job=jobs, data=st.data(), how=st.sampled_from(["note", "succeed", "fail", "cancelled", "release"]))
    def write(self, job: str, data: st.DataObject, how: str) -> None:
        """Any attempt writes, the newest or a late twin."""
        known = self.expected[job]
        if not known.attempts:
            return
        attempt = data.draw(st.sampled_from(known.attempts), label="attempt")
        newest = known.status is JobStatus.RUNNING and attempt.token == known.attempt
        if not newest:
            with pytest.raises(FencedOut):
                self._write(attempt, how)
            return
        answer = self._write(attempt, how)
        if how == "note":
            assert answer is known.cancelled
        elif how == "release":
            assert answer is not known.cancelled
            known.end(JobStatus.CANCELLED if known.cancelled else JobStatus.QUEUED)
        else:
            known.end({"succeed": JobStatus.SUCCEEDED, "fail": JobStatus.FAILED}.get(how, JobStatus.CANCELLED))

    def _write(self, attempt: Attempt, how: str) -> bool:
        """What `note` and `release` answer; False for the others."""
        match how:
            case "note":
                return attempt.note({"step": 1}, event="progress", data={"step": 1})
            case "release":
                return attempt.release()
            case "succeed":
                attempt.succeed({"token": attempt.token})
            case "fail":
                attempt.fail(UnprocessableContent("no"))
            case _:
                attempt.cancelled()
        return False

    @rule(job=jobs)
    def lose_the_worker(self, job: str) -> None:
        known = self.expected[job]
        if known.status is JobStatus.QUEUED:
            self.claim(job)
        if known.status is not JobStatus.RUNNING:
            return
        self.redis.zadd("facet:leases", {job: 1})
        outcome = self.sweeper.reclaim()
        known.lost += 1
        if known.cancelled:
            known.end(JobStatus.CANCELLED)
        elif known.lost >= LOST_LIMIT:
            known.dead = True
            known.end(JobStatus.FAILED)
        else:
            known.end(JobStatus.QUEUED)
        assert outcome == {job: known.status}

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        known = self.expected[job]
        if known.status.is_final:
            with pytest.raises(Conflict):
                self.runner.run(self.store.request_cancel(job, owner=OWNER))
            return
        self.runner.run(self.store.request_cancel(job, owner=OWNER))
        if known.status is JobStatus.QUEUED:
            known.end(JobStatus.CANCELLED)
        else:
            known.cancelled = True

    @rule(job=jobs)
    def wait_too_long_for_a_worker(self, job: str) -> None:
        known = self.expected[job]
        if known.status is JobStatus.QUEUED:
            self.redis.zadd("facet:due", {job: 1})
            assert self.sweeper.expire() == 1
            known.end(JobStatus.EXPIRED)

    @rule(job=jobs)
    def retry(self, job: str) -> None:
        known = self.expected[job]
        if not known.status.is_final or known.status is JobStatus.SUCCEEDED:
            with pytest.raises(Conflict):
                self.runner.run(self.store.retry(job, owner=OWNER))
            return
        self.runner.run(self.store.retry(job, owner=OWNER))
        known.status, known.lost, known.cancelled, known.dead = JobStatus.QUEUED, 0, False, False

    @rule()
    def sweep_without_need(self) -> None:
        assert self.sweeper.reclaim() == {}
        assert self.sweeper.expire() == 0

    @invariant()
    def records_are_as_expected(self) -> None:
        for job, known in self.expected.items():
            record = self.runner.run(self.store.get(job, owner=OWNER))
            assert (record.status, record.attempt, record.lost_workers) == (known.status, known.attempt, known.lost)
            assert (record.result is not None) == (known.status is JobStatus.SUCCEEDED)
            if record.result is not None:
                assert record.result == {"token": known.attempt}

    @invariant()
    def a_final_event_where_and_only_where_it_has_ended(self) -> None:
        for job, known in self.expected.items():
            events: Any = self.redis.xrange(f"facet:job:{job}:events")
            done = [fields["data"] for _, fields in events if fields["type"] == "done"]
            assert len(done) == int(known.status.is_final)
            assert not done or f'"{known.status}"' in done[0]
            assert not done or events[-1][1]["type"] == "done"

    @invariant()
    def the_sets_agree(self) -> None:
        def those(*statuses: JobStatus) -> set[str]:
            return {job for job, known in self.expected.items() if known.status in statuses}

        waiting, running = those(JobStatus.QUEUED), those(JobStatus.RUNNING)
        final = set(self.expected) - waiting - running
        assert self._members(f"facet:queue:{QUEUE}:waiting") == waiting
        assert self._members("facet:leases") == running
        assert self._members("facet:due") == waiting | final
        assert self._members(f"facet:unfinished:{OWNER}") == waiting | running
        assert self._members("facet:dead") == {job for job, known in self.expected.items() if known.dead}
        assert self._members(f"facet:jobs:of:{OWNER}") == self._members("facet:jobs") == set(self.expected)

    @invariant()
    def listings_are_newest_first(self) -> None:
        page = self.runner.run(self.store.list_jobs(owner=OWNER, limit=100))
        assert [record.id for record in page.records] == sorted(self.expected, reverse=True)

    def _members(self, key: str) -> set[str]:
        found: Any = self.redis.zrange(key, 0, -1)
        return set(found)


@pytest.mark.slow
def test_the_life_of_jobs(redis_server: str) -> None:
    Life.url = f"{redis_server}/5"
    with redis.Redis.from_url(Life.url) as client:
        while int(client.info("server")["uptime_in_seconds"]) < 3:
            time.sleep(0.1)
    options = settings(
        max_examples=30, stateful_step_count=40, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(Life, settings=options)
