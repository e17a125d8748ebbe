"""`make chaos`: all drills, and the report."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.chaos.cancelling import cancels
from tests.chaos.drill import Plan, late_twins, survive
from tests.chaos.processes import Processes

FOLDER = Path(__file__).parent
BEGAN = time.monotonic()


def say(text: str) -> None:
    """Print a line with the time since the start."""
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


async def run(folder: Path, plan: Plan, *, twins: int, cancelled: int) -> dict[str, Any]:
    """All drills, on one fleet."""
    processes = Processes(folder)
    try:
        processes.start_redis()
        processes.start_gateway()
        processes.start_worker("worker-0")
        cancel_times = await cancels(processes, folder, cancelled, say)
        for number in range(1, plan.workers):
            processes.start_worker(f"worker-{number}")
        survived = await survive(processes, folder, plan, say)
        for number in range(1, plan.workers):
            processes.kill(f"worker-{number}")
        twin_counts = await late_twins(processes, folder, twins, say)
    finally:
        processes.close()
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}"
    return {"machine": machine, "survival": survived, "late twins": twin_counts, "cancel": cancel_times}


_HEAD = """# Chaos drill

Written by `make chaos` ({machine}, seed {seed}).

{jobs} jobs of {steps} steps on {workers} workers. {kills} workers were killed with -9 at random, Redis was restarted
by {restarts}, the gateway killed {gateway} time. Three quarters of the jobs also killed their own worker's child in
their first attempt: before the first checkpoint, between result and status, between status and acknowledgement.

| counted | |
|---|---|
{counts}

A job whose worker dies after its last step and before its status is written takes its last steps again: the function
is finished by two attempts, the result is committed once. Redis killed with -9 may forget its last second (appendfsync
everysec); what it forgot is done again.

**Late twins** (a worker is paused until another has taken over its job, then goes on): {twins}

**Cancel**, milliseconds from DELETE, {cancels} times each; one worker, the cancel anywhere in a step:

| kind | its steps | stated bound | | p50 | p95 | p99 |
|---|---|---|---|---|---|---|
{times}
"""


def as_markdown(report: dict[str, Any], plan: Plan) -> str:
    """The report for people."""
    survived, cancelled = report["survival"], report["cancel"]
    rows = (("job has ended", "ended_ms"), ("worker has begun the next job", "freed_ms"))
    return _HEAD.format(
        machine=report["machine"],
        seed=survived["seed"],
        jobs=plan.jobs,
        steps=plan.steps,
        workers=plan.workers,
        kills=plan.worker_kills,
        restarts=" and ".join(number.name for number in plan.redis_restarts),
        gateway=plan.gateway_restarts,
        counts="\n".join(f"| {name} | {value} |" for name, value in survived.items() if name != "seed"),
        twins=", ".join(f"{value} {name}" for name, value in report["late twins"].items()),
        cancels=cancelled[0]["cancels"],
        times="\n".join(
            f"| {kind['kind']} | {kind['steps']} | {kind['bound_s']} s | {what} | {_row(kind[key])} |"
            for kind in cancelled
            for what, key in rows
        ),
    )


def _row(times: dict[str, float]) -> str:
    return " | ".join(map(str, times.values()))


def main() -> None:
    """Run the drills and write report.json and report.md beside this file."""
    argparse.ArgumentParser(prog="make chaos", description=main.__doc__).parse_args()
    plan = Plan()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(run(Path(folder), plan, twins=10, cancelled=100))
    (FOLDER / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (FOLDER / "report.md").write_text(as_markdown(report, plan), encoding="utf-8")
    print(as_markdown(report, plan))


if __name__ == "__main__":
    main()
