"""Jobs that only tests do; workers get them through FACET_WORKER_KINDS."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from shared.jobs.context import JobContext
from shared.jobs.kinds import JobKind
from shared.problems import UnprocessableContent

_MODULE = "tests.integration.jobs.job_kinds"


def _kind(name: str, queue: str = "medical.onnx", *, time_limit_s: int = 60) -> JobKind:
    return JobKind(
        name=f"test.{name}",
        queue=queue,
        function=f"{_MODULE}:{name}",
        title=f"Test: {name}",
        time_limit_s=time_limit_s,
        cancel_bound_s=1,
    )


COUNT = _kind("count")
HANDED_ON = JobKind(
    name="test.handed-on", queue="security.onnx", function=f"{_MODULE}:count", title="Test: counted by two workers"
)
TRACED = JobKind(name="test.traced", queue="generation.onnx", function=f"{_MODULE}:count", title="Test: traced")
REFUSE = _kind("refuse")
CRASH = _kind("crash")
EXHAUST = _kind("exhaust")
SHOW = _kind("show")
LOSE_WORKER = _kind("lose_worker")
OVERSLEEP = _kind("oversleep", time_limit_s=1)
TORCH = _kind("count_torch", queue="security.torch")

KINDS = (COUNT, HANDED_ON, TRACED, REFUSE, CRASH, EXHAUST, SHOW, LOSE_WORKER, OVERSLEEP, TORCH)


def count(context: JobContext) -> dict[str, Any]:
    """Take steps, write each into a ledger, checkpoint after each."""
    steps, step_s, ledger = context.arguments["steps"], context.arguments["step_s"], Path(context.arguments["ledger"])
    done: list[list[int]] = context.restore() or []
    for step in range(len(done), steps):
        context.progress(step, steps, f"step {step + 1} of {steps}")
        time.sleep(step_s)
        with ledger.open("a") as lines:
            lines.write(f"{context.attempt} {step} {os.getpid()}\n")
        done.append([context.attempt, step])
        context.checkpoint(done)
    context.progress(steps, steps)
    return {"done": done}


def refuse(context: JobContext) -> None:
    """Find the input wrong."""
    raise UnprocessableContent("The slices differ in size.")


def crash(context: JobContext) -> None:
    """Have a fault."""
    raise ZeroDivisionError("a secret that no caller may see")


def exhaust(context: JobContext) -> None:
    """Run out of memory."""
    raise MemoryError


def show(context: JobContext) -> None:
    """Show something."""
    context.log("began")
    context.preview(b"\x89PNG", "image/png")


def lose_worker(context: JobContext) -> None:
    """Die as if for lack of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def oversleep(context: JobContext) -> None:
    """Never finish."""
    time.sleep(60)
