"""What the jobs wrote down, compared with what Redis says of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.jobs.records import JobRecord, JobStatus


@dataclass
class Attempt:
    """One attempt as the ledger has it."""

    begin: int = 0
    steps: list[int] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    results: int = 0


def read_ledger(path: Path) -> dict[str, dict[int, Attempt]]:
    """Attempts by job and number."""
    jobs: dict[str, dict[int, Attempt]] = defaultdict(lambda: defaultdict(Attempt))
    for line in path.read_text().splitlines():
        job, number, what, value = line.split(" ")
        attempt = jobs[job][int(number)]
        if what == "begin":
            attempt.begin = int(value)
        elif what == "step":
            attempt.steps.append(int(value))
        elif what == "checkpoint":
            attempt.checkpoints.append(int(value))
        else:
            attempt.results += 1
    return jobs


def judge(
    records: Sequence[JobRecord],
    done_events: Mapping[str, int],
    ledger: Mapping[str, Mapping[int, Attempt]],
    steps: int,
) -> dict[str, Any]:
    """Count what must be zero, and what chaos costs.

    Args:
        records: of all jobs, at the end.
        done_events: how many `done` events each has.
        ledger: of `read_ledger`.
        steps: of each job.
    """
    found: dict[str, Any] = {
        "jobs": len(records),
        "succeeded": sum(record.status is JobStatus.SUCCEEDED for record in records),
        "not ended": sum(not record.status.is_final for record in records),
        "without exactly one done event": sum(done_events[record.id] != 1 for record in records),
        "with steps missing": 0,
        "whose result is of no attempt that finished": 0,
        "resumed before their last checkpoint": 0,
        "attempts": sum(len(attempts) for attempts in ledger.values()),
        "steps repeated": 0,
        "finished by more than one attempt": 0,
    }
    for record in records:
        attempts = ledger[record.id]
        taken = [step for attempt in attempts.values() for step in attempt.steps]
        found["with steps missing"] += set(taken) != set(range(steps))
        found["steps repeated"] += len(taken) - len(set(taken))
        finished = [number for number, attempt in attempts.items() if attempt.results]
        found["finished by more than one attempt"] += len(finished) > 1
        found["whose result is of no attempt that finished"] += (record.result or {}).get("attempt") not in finished
        found["resumed before their last checkpoint"] += _resumed_early(attempts)
    return found


def _resumed_early(attempts: Mapping[int, Attempt]) -> int:
    """How many attempts began before a checkpoint that an earlier one had made."""
    reached = early = 0
    for _, attempt in sorted(attempts.items()):
        early += attempt.begin < reached
        reached = max([reached, *attempt.checkpoints])
    return early
