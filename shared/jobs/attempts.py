"""The worker side of jobs: claim one, write while the lease lasts, end it. Every write compares the fencing token.

A worker that is paused, partitioned or just slow may find that its lease ran out and a twin took over. Its token is
then no longer the newest, Redis refuses the write, and `FencedOut` stops it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, cast

import orjson
from redis import Redis

from shared.jobs.events import EventType
from shared.jobs.interrupts import FencedOut
from shared.jobs.records import JobRecord, JobStatus
from shared.jobs.scripts import as_fields, source
from shared.problems import Problem, ProblemDetails
from shared.settings import Settings

_SCRIPTS = ("claim", "finish", "note", "read", "release")


class Refusal(StrEnum):
    """Why a job cannot be claimed; in each case its message is done with."""

    UNKNOWN = "unknown"
    FINISHED = "finished"
    HELD = "held"


class Attempts:
    """Claims jobs for one worker.

    Args:
        redis: a client of `connection.worker_client`, made after any fork.
        settings: lease, retention and limits.
        worker: name of the worker, for the record.
    """

    def __init__(self, redis: Redis, settings: Settings, worker: str) -> None:
        self.settings = settings
        self.worker = worker
        self._scripts = {name: redis.register_script(source(name)) for name in _SCRIPTS}

    def claim(self, job_id: str) -> Attempt | Refusal:
        """Start an attempt, unless the job is finished, unknown, or held by an attempt whose lease is good."""
        outcome, token = self.run("claim", job_id, self.worker, self.lease_ms)
        if outcome != "claimed":
            return Refusal(outcome)
        record = JobRecord.from_hash(as_fields(self.run("read", job_id)[0]))
        return Attempt(self, record, int(token))

    @property
    def lease_ms(self) -> int:
        """How long an attempt may be silent."""
        return round(self.settings.worker_gone_after_s * 1000)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script. One whose answer was lost is run again by the client; the token then decides."""
        return self._scripts[script](args=arguments)


class Attempt:
    """One attempt at a job.

    Args:
        attempts: what claimed it.
        record: the job as claimed.
        token: the fencing token, equal to the number of the attempt.

    Attributes:
        outcome: how it ended, once it has: the status of the job, or "given back".

    Every method raises `FencedOut` when another attempt has taken over.
    """

    def __init__(self, attempts: Attempts, record: JobRecord, token: int) -> None:
        self._attempts = attempts
        self.record = record
        self.token = token
        self.outcome: str | None = None

    def note(
        self,
        fields: Mapping[str, str | int | float] | None = None,
        *,
        event: EventType | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> bool:
        """Write fields of the record and an event, and renew the lease.

        Returns:
            Whether the job is to be cancelled.
        """
        flat = [part for item in (fields or {}).items() for part in item]
        return bool(self._fenced("note", self._attempts.lease_ms, event or "", _json(data or {}), *flat))

    def succeed(self, result: Mapping[str, Any]) -> None:
        """End with a result (JSON)."""
        self._finish(JobStatus.SUCCEEDED, "result", _json(result))

    def fail(self, problem: Problem) -> None:
        """End with a problem."""
        self._finish(JobStatus.FAILED, "problem", _json(problem_of(self.record, problem).model_dump(exclude_none=True)))

    def cancelled(self, result: Mapping[str, Any] | None = None) -> None:
        """End because somebody asked for it, with what there is so far (JSON) if that is of use."""
        found = ("", "") if result is None else ("result", _json(result))
        self._finish(JobStatus.CANCELLED, *found)

    def release(self) -> bool:
        """Give the job back to its queue, keeping its checkpoint.

        Returns:
            Whether it waits again and wants publishing; False if it was to be cancelled and now is.
        """
        settings = self._attempts.settings
        timeout_ms, retention_ms = settings.job_queue_timeout_s * 1000, settings.job_retention_s * 1000
        waits = bool(self._fenced("release", timeout_ms, retention_ms))
        self.outcome = "given back" if waits else JobStatus.CANCELLED.value
        return waits

    def _finish(self, status: JobStatus, field: str, value: str) -> None:
        self._fenced("finish", status.value, self._attempts.settings.job_retention_s * 1000, field, value)
        self.outcome = status.value

    def _fenced(self, script: str, *arguments: Any) -> int:
        answer = cast("int", self._attempts.run(script, self.record.id, self.token, *arguments))
        if answer < 0:
            raise FencedOut
        return answer


def problem_of(record: JobRecord, problem: Problem) -> ProblemDetails:
    """A problem as the record keeps it: about this job, with the id of the request that made it."""
    return problem.details(instance=f"/v1/jobs/{record.id}", request_id=record.request_id)


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(value), option=orjson.OPT_SERIALIZE_NUMPY).decode("utf-8")
