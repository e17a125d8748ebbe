"""Jobs that write down what they do, and kill their own process at the worst moments.

The ledger is a file that every process appends whole lines to: job, attempt, what, number. Workers load this module
through FACET_WORKER_KINDS; nothing in it is part of Facet.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import signals

from shared.jobs.context import JobContext
from shared.jobs.kinds import JobKind

QUEUE = "medical.onnx"
CHECKPOINT_EVERY = 5

FAULTS = ("before the first checkpoint", "between result and status", "between status and acknowledgement")
"""The windows in which a job kills its worker's child, in its first attempt."""

WORK = JobKind(
    name="chaos.work",
    queue=QUEUE,
    function="tests.chaos.faults:work",
    title="Chaos: steps in a ledger",
    time_limit_s=120,
    cancel_bound_s=1,
)
KINDS = (WORK,)

_to_be_killed: set[str] = set()


def work(context: JobContext) -> dict[str, Any]:
    """Take steps, checkpoint every few, write a result, and die where the arguments say."""
    fault = context.arguments["fault"] if context.attempt == 1 else None
    begin = context.restore() or 0
    _note(context, "begin", begin)
    for step in range(begin, context.arguments["steps"]):
        context.progress(step, context.arguments["steps"], f"attempt {context.attempt}")
        time.sleep(context.arguments["step_s"])
        _note(context, "step", step)
        if fault == FAULTS[0] and step == CHECKPOINT_EVERY - 2:
            _die()
        if (step + 1) % CHECKPOINT_EVERY == 0:
            context.checkpoint(step + 1)
            _note(context, "checkpoint", step + 1)
    blob = context.blobs.put(f"{context.job_id} {context.attempt}".encode())
    _note(context, "result", 0)
    if fault == FAULTS[1]:
        _die()
    if fault == FAULTS[2]:
        _to_be_killed.add(context.job_id)
    return {"attempt": context.attempt, "digest": blob.digest}


def _note(context: JobContext, what: str, number: int) -> None:
    line = f"{context.job_id} {context.attempt} {what} {number}\n".encode()
    ledger = os.open(context.arguments["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, line)
    finally:
        os.close(ledger)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _after_the_task(args: list[str] | None = None, **_: Any) -> None:
    """Celery calls this in the child when the status is written and the message is not yet acknowledged."""
    if args and args[0] in _to_be_killed:
        _die()


signals.task_postrun.connect(_after_the_task, weak=False)
