"""Many jobs, few workers, and somebody who pulls plugs."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from shared.jobs.connection import api_client
from shared.jobs.kinds import JobKinds
from shared.jobs.records import JobRecord, JobStatus
from shared.jobs.store import JobStore, open_job_store
from tests.chaos.faults import FAULTS, KINDS, WORK
from tests.chaos.ledger import judge, read_ledger
from tests.chaos.processes import Processes

PATIENCE_S = 400.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much chaos."""

    jobs: int = 200
    workers: int = 3
    steps: int = 12
    step_s: float = 0.02
    worker_kills: int = 12
    kill_every_s: float = 3.0
    redis_restarts: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL)
    gateway_restarts: int = 1
    seed: int = 7


def open_store(processes: Processes) -> AbstractAsyncContextManager[JobStore]:
    """The store that creates the drill's jobs."""
    return open_job_store(processes.settings, JobKinds(KINDS))


async def survive(processes: Processes, folder: Path, plan: Plan, say: Say) -> dict[str, Any]:
    """The drill of must-show 1; a quarter of the jobs each have one of the faults, or none."""
    ledger, draw = folder / "ledger", random.Random(plan.seed)
    faults = [(None, *FAULTS)[number % 4] for number in range(plan.jobs)]
    draw.shuffle(faults)
    arguments = {"steps": plan.steps, "step_s": plan.step_s, "ledger": str(ledger)}
    async with open_store(processes) as store:
        ids = [(await store.create(WORK, arguments | {"fault": fault})).id for fault in faults]
    await asyncio.sleep(1.5)  # appendfsync everysec: what was acknowledged is on the disk by now
    began = time.monotonic()
    chaos = asyncio.create_task(_pull_plugs(processes, plan, draw, say))
    records = await _until_all_end(processes, ids, chaos, say)
    seconds = time.monotonic() - began
    await chaos
    events = {job: await _done_events(processes, job) for job in ids}
    found = judge(records, events, read_ledger(ledger), plan.steps)
    return found | {"seconds": round(seconds, 1), "seed": plan.seed}


async def _pull_plugs(processes: Processes, plan: Plan, draw: random.Random, say: Say) -> None:
    """Kill workers at random; Redis and the gateway in between."""
    others = [("redis", number) for number in plan.redis_restarts] + [
        ("gateway", signal.SIGKILL)
    ] * plan.gateway_restarts
    moments = dict(zip(draw.sample(range(1, plan.worker_kills), len(others)), others, strict=True))
    for kill in range(plan.worker_kills):
        await asyncio.sleep(draw.uniform(0.5, 1.5) * plan.kill_every_s)
        name = f"worker-{draw.randrange(plan.workers)}"
        await asyncio.to_thread(processes.kill, name)
        await asyncio.to_thread(processes.start_worker, name, wait=False)
        say(f"killed {name} ({kill + 1} of {plan.worker_kills})")
        if kill in moments:
            other, number = moments[kill]
            await asyncio.to_thread(processes.kill, other, number)
            start = processes.start_redis if other == "redis" else processes.start_gateway
            await asyncio.to_thread(start)
            say(f"restarted {other} after {number.name}")


async def _until_all_end(processes: Processes, ids: list[str], chaos: asyncio.Task[None], say: Say) -> list[JobRecord]:
    """Ask the gateway, which may be away, until every job has ended and the plugs are left alone."""
    deadline, open_jobs, said = time.monotonic() + PATIENCE_S, set(ids), 0.0
    async with httpx.AsyncClient(base_url=processes.gateway_url, timeout=5) as client:
        while open_jobs or not chaos.done():
            assert time.monotonic() < deadline, f"{len(open_jobs)} jobs have not ended: {sorted(open_jobs)[:3]}"
            for job in list(open_jobs):
                try:
                    answer = await client.get(f"/v1/jobs/{job}")
                except httpx.TransportError:
                    break
                if answer.status_code == 200 and JobStatus(answer.json()["status"]).is_final:
                    open_jobs.discard(job)
            if time.monotonic() - said > 5:
                said = time.monotonic()
                say(f"{len(ids) - len(open_jobs)} of {len(ids)} jobs have ended")
            await asyncio.sleep(0.3)
    async with open_store(processes) as store:
        return [await store.get(job) for job in ids]


async def _done_events(processes: Processes, job: str) -> int:
    redis = api_client(processes.settings.redis_url)
    try:
        events = await redis.xrange(f"facet:job:{job}:events")
    finally:
        await redis.aclose()
    return sum(fields["type"] == "done" for _, fields in events or [])  # type: ignore[index]


async def late_twins(processes: Processes, folder: Path, rounds: int, say: Say) -> dict[str, Any]:
    """The drill of must-show 2: a worker is paused until another has taken its job, then goes on."""
    late_writes = wrong_results = 0
    async with open_store(processes) as store:
        for number in range(rounds):
            record = await _overtaken(processes, store, folder / f"twin-{number}")
            late_writes += await _progress_of(processes, record.id, attempt=1, after_attempt=2)
            wrong_results += record.status is not JobStatus.SUCCEEDED or (record.result or {}).get("attempt") != 2
            say(f"late twin {number + 1} of {rounds}")
    return {"rounds": rounds, "writes of the late twin": late_writes, "results that are not the heir's": wrong_results}


async def _overtaken(processes: Processes, store: JobStore, ledger: Path) -> JobRecord:
    """A job whose first worker slept until a second one had begun."""
    paused, heir = "worker-0", "worker-1"
    job = await store.create(WORK, {"steps": 40, "step_s": 0.05, "ledger": str(ledger), "fault": None})
    await until_attempt(store, job.id, 1)
    await asyncio.sleep(0.5)
    processes.signal(paused, signal.SIGSTOP)
    await asyncio.to_thread(processes.start_worker, heir)
    await until_attempt(store, job.id, 2)
    processes.signal(paused, signal.SIGCONT)
    record = await store.wait(job.id, seconds=60)
    await asyncio.to_thread(processes.kill, heir)
    return record


async def until_attempt(store: JobStore, job: str, attempt: int) -> None:
    async with asyncio.timeout(60):
        while (await store.get(job)).attempt < attempt:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _progress_of(processes: Processes, job: str, *, attempt: int, after_attempt: int) -> int:
    """How many progress events of an attempt came after the begin of a later one."""
    redis = api_client(processes.settings.redis_url)
    try:
        events: Any = await redis.xrange(f"facet:job:{job}:events")
    finally:
        await redis.aclose()
    data = [fields["data"] for _, fields in events]
    begun = next(index for index, text in enumerate(data) if f'"attempt":{after_attempt}' in text)
    return sum(f"attempt {attempt}" in text for text in data[begun:])
