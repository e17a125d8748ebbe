"""What is known of a job, read from its hash in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson


class JobStatus(StrEnum):
    """Where a job is in its life. The last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self not in {JobStatus.QUEUED, JobStatus.RUNNING}


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is."""

    step: int = 0
    """Steps done."""
    total: int | None = None
    """Steps to do, if known."""
    message: str | None = None
    """What it is doing, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job. Times are in UTC by Redis' clock."""

    id: str
    kind: str
    title: str
    queue: str
    owner: str
    status: JobStatus
    created_at: datetime
    time_limit_s: int
    cancel_bound_s: float
    step_unit: str = "step"
    progress: JobProgress = field(default_factory=JobProgress)
    queue_position: int | None = None
    """Jobs ahead of it in its queue; None unless queued."""
    eta_s: float | None = None
    """Seconds until it should be done, from measured step times; None where nothing was measured yet."""
    attempt: int = 0
    """Number of the newest attempt, which is also its fencing token; 0 before the first."""
    lost_workers: int = 0
    """Attempts that ended without a word."""
    cancel_requested: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    """When a finished job is forgotten."""
    result: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    """Digest and media type of the state that the next attempt resumes from."""
    request_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    worker: str | None = None
    dead: str | None = None
    """Why the job was given up for good and is a dead letter: `lost workers` or `time limit`; None for all others."""
    version: int = 0
    """Counts the writes."""

    @property
    def etag(self) -> str:
        """Entity tag of the record: changes with every write and with its place in the queue (RFC 9110, weak)."""
        position = "" if self.queue_position is None else f".{self.queue_position}"
        return f'W/"{self.version}{position}"'

    @classmethod
    def from_hash(cls, fields: Mapping[str, str]) -> JobRecord:
        """Read the hash of `lua/read.lua`: the stored fields and those that it adds."""
        return cls(
            id=fields["id"],
            kind=fields["kind"],
            title=fields["title"],
            queue=fields["queue"],
            owner=fields["owner"],
            status=JobStatus(fields["status"]),
            created_at=_instant(fields["created_at"]),
            time_limit_s=int(fields["time_limit_s"]),
            cancel_bound_s=float(fields["cancel_bound_s"]),
            step_unit=fields["step_unit"],
            progress=JobProgress(
                int(fields.get("step", 0)), _whole(fields.get("total")), fields.get("message") or None
            ),
            queue_position=_whole(fields.get("queue_position")),
            eta_s=estimate_s(fields),
            attempt=int(fields["attempt"]),
            lost_workers=int(fields["lost"]),
            cancel_requested="cancel_requested" in fields,
            started_at=_maybe_instant(fields.get("started_at")),
            finished_at=_maybe_instant(fields.get("finished_at")),
            expires_at=_maybe_instant(fields.get("expires_at")),
            result=_document(fields.get("result")),
            problem=_document(fields.get("problem")),
            arguments=_document(fields.get("arguments")) or {},
            checkpoint=fields.get("checkpoint") or None,
            request_id=fields.get("request_id") or None,
            traceparent=fields.get("traceparent") or None,
            tracestate=fields.get("tracestate") or None,
            worker=fields.get("worker") or None,
            dead=fields.get("dead") or None,
            version=int(fields["version"]),
        )


def estimate_s(fields: Mapping[str, str]) -> float | None:
    """Seconds until a job should be done.

    Running: steps left times the measured time of a step of this attempt, or what remains of the mean run time of its
    kind. Queued: the jobs ahead at the mean run time of the queue, shared by its workers, and then its own run.
    """
    if fields["status"] == JobStatus.RUNNING:
        if fields.get("step_s") and fields.get("total"):
            return round((int(fields["total"]) - int(fields["step"])) * float(fields["step_s"]), 1)
        if "kind_pace_s" in fields:
            spent_s = (int(fields["now"]) - int(fields["attempt_at"])) / 1000
            return round(max(float(fields["kind_pace_s"]) - spent_s, 0.0), 1)
    if fields["status"] == JobStatus.QUEUED and "queue_pace_s" in fields:
        queue_pace_s = float(fields["queue_pace_s"])
        ahead_s = int(fields.get("queue_position", 0)) * queue_pace_s / max(int(fields.get("queue_workers", 1)), 1)
        return round(ahead_s + float(fields.get("kind_pace_s", queue_pace_s)), 1)
    return None


def _instant(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, tz=UTC)


def _maybe_instant(milliseconds: str | None) -> datetime | None:
    return _instant(milliseconds) if milliseconds else None


def _whole(text: str | None) -> int | None:
    return int(text) if text else None


def _document(text: str | None) -> dict[str, Any] | None:
    return orjson.loads(text) if text else None
