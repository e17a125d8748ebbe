"""Why a job is not taken, and when to come back: each Retry-After is computed from what has been measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from shared.jobs.records import JobRecord
from shared.problems import QuotaExceeded, ReducedCapacity, ServiceUnavailable

CONCURRENT_JOBS = "concurrent-jobs"
"""Name of the quota policy that limits a caller's unfinished jobs."""

UNMEASURED_S = 5
"""Retry-After where no run has been measured yet."""

LONGEST_WAIT_S = 600
"""Upper end of every Retry-After of this module: paces are means, and a place may free earlier."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Waiting jobs of one kind, and how fast they go."""

    waiting: int
    workers: int
    kind_pace_s: float | None = None
    """Mean run time of the kind; None where none has succeeded yet."""
    queue_pace_s: float | None = None
    """Mean run time of everything in its queue."""

    @classmethod
    def of(cls, waiting: str, workers: str, kind_pace_s: str, queue_pace_s: str) -> Self:
        """Read what `lua/create.lua` says of a full queue."""
        return cls(int(waiting), int(workers), _seconds(kind_pace_s), _seconds(queue_pace_s))

    @property
    def pace(self) -> tuple[float, str] | None:
        """Mean run time in seconds and what it is a mean of; None where nothing was measured."""
        if self.kind_pace_s is not None:
            return self.kind_pace_s, "jobs of this kind have taken"
        if self.queue_pace_s is not None:
            return self.queue_pace_s, "jobs of its queue have taken"
        return None

    @property
    def place_frees_in_s(self) -> float | None:
        """Seconds until a worker should start the next of them: one run, shared by the live workers."""
        return None if self.pace is None else self.pace[0] / max(self.workers, 1)


def queue_full(kind: str, backlog: Backlog) -> ReducedCapacity:
    """The problem of a kind with as many waiting jobs as may be."""
    waiting = f"{backlog.waiting} jobs of the kind {kind} wait already, which is as many as may."
    if backlog.pace is None or backlog.place_frees_in_s is None:
        basis = "No run has been measured yet, so when a place frees is not known."
        return ReducedCapacity(f"{waiting} {basis}", retry_after_s=UNMEASURED_S)
    seconds, measured = backlog.pace
    wait_s = _bounded(backlog.place_frees_in_s)
    basis = f"{measured} {seconds:.1f} s lately, and workers: {backlog.workers}"
    return ReducedCapacity(f"{waiting} A place should free in about {wait_s} s ({basis}).", retry_after_s=wait_s)


def too_many_jobs(oldest: JobRecord | None, *, limit: int) -> QuotaExceeded:
    """The problem of a caller with as many unfinished jobs as may be.

    Args:
        oldest: the caller's oldest unfinished job, which should end first; None if it has just ended.
        limit: how many may be.
    """
    detail = f"You have {limit} unfinished jobs, which is as many as you may. Wait for one, or cancel one."
    if oldest is None:
        wait_s = 1
    else:
        wait_s = UNMEASURED_S if oldest.eta_s is None else _bounded(oldest.eta_s)
        detail += f" The oldest is /v1/jobs/{oldest.id}"
        detail += "." if oldest.eta_s is None else f", which should end in about {wait_s} s."
    return QuotaExceeded(detail, policies=[CONCURRENT_JOBS], retry_after_s=wait_s)


def no_worker(queue: str) -> ServiceUnavailable:
    """The problem of a queue that nobody reads."""
    if queue.endswith(".torch"):
        return ServiceUnavailable(
            "This job needs a worker with torch, and none is running. Start the fleet with `make run TORCH=1`, or a "
            "worker with `python -m services.worker --weight torch`.",
            retry_after_s=30,
        )
    return ServiceUnavailable(
        f"No worker reads the queue {queue} at present. If none is being restarted, start one with "
        "`python -m services.worker --weight onnx`.",
        retry_after_s=5,
    )


def _bounded(seconds: float) -> int:
    return max(1, min(math.ceil(seconds), LONGEST_WAIT_S))


def _seconds(text: str) -> float | None:
    return float(text) if text else None
