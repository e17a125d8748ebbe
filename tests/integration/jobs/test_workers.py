"""Jobs on real workers: how each ends, and what survives a killed worker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.jobs.kinds import JobKind
from shared.jobs.records import JobRecord, JobStatus
from shared.jobs.store import JobStore
from tests.integration.jobs import job_kinds
from tests.integration.jobs.conftest import StartWorker, kill_group

pytestmark = pytest.mark.usefixtures("worker")

PATIENCE_S = 30.0


def count_arguments(ledger: Path, *, steps: int, step_s: float = 0.02) -> dict[str, Any]:
    return {"steps": steps, "step_s": step_s, "ledger": str(ledger)}


async def run(jobs: JobStore, kind: JobKind, arguments: Mapping[str, Any] | None = None) -> JobRecord:
    record = await jobs.create(kind, arguments or {})
    return await jobs.wait(record.id, seconds=PATIENCE_S)


async def until_step(jobs: JobStore, job_id: str, step: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        async for event in jobs.events.follow(job_id):
            if event and event.type == "progress" and event.data["step"] >= step:
                return


def problem(record: JobRecord) -> dict[str, Any]:
    assert record.problem is not None
    return record.problem


async def test_success(jobs: JobStore, tmp_path: Path) -> None:
    record = await run(jobs, job_kinds.COUNT, count_arguments(tmp_path / "ledger", steps=5))
    assert record.status is JobStatus.SUCCEEDED
    assert record.result == {"done": [[1, step] for step in range(5)]}
    assert (record.progress.step, record.progress.total, record.attempt) == (5, 5, 1)
    assert record.started_at is not None
    assert record.finished_at is not None
    assert record.created_at <= record.started_at <= record.finished_at


async def test_wait_returns_as_soon_as_the_job_is_done(jobs: JobStore, tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_S):
        record = await jobs.create(job_kinds.COUNT, count_arguments(tmp_path / "ledger", steps=2))
        record = await jobs.wait(record.id, seconds=3600)
    assert record.status is JobStatus.SUCCEEDED


async def test_wait_returns_an_unfinished_job_in_the_end(jobs: JobStore, tmp_path: Path) -> None:
    record = await jobs.create(job_kinds.COUNT, count_arguments(tmp_path / "ledger", steps=50))
    assert not (await jobs.wait(record.id, seconds=0.1)).status.is_final
    await jobs.request_cancel(record.id)
    assert (await jobs.wait(record.id, seconds=PATIENCE_S)).status is JobStatus.CANCELLED


async def test_a_problem_of_the_function_is_the_problem_of_the_job(jobs: JobStore) -> None:
    record = await run(jobs, job_kinds.REFUSE)
    assert record.status is JobStatus.FAILED
    assert problem(record)["status"] == 422
    assert problem(record)["detail"] == "The slices differ in size."
    assert problem(record)["instance"] == f"/v1/jobs/{record.id}"


@pytest.mark.parametrize(
    ("kind", "status", "says"),
    [
        (job_kinds.CRASH, 500, "fault of Facet"),
        (job_kinds.EXHAUST, 500, "memory"),
        (job_kinds.OVERSLEEP, 504, "time limit of 1 s"),
    ],
    ids=lambda value: value.name if isinstance(value, JobKind) else "",
)
async def test_other_ends_are_problems_without_details(jobs: JobStore, kind: JobKind, status: int, says: str) -> None:
    record = await run(jobs, kind)
    assert record.status is JobStatus.FAILED
    assert problem(record)["status"] == status
    assert says in problem(record)["detail"]
    assert "secret" not in str(problem(record))


async def test_events_tell_the_whole_story_and_replay(jobs: JobStore) -> None:
    record = await run(jobs, job_kinds.SHOW)
    events = [event async for event in jobs.events.follow(record.id) if event]
    assert [event.type for event in events] == ["status", "status", "log", "preview", "status", "done"]
    assert [event.data["status"] for event in events if event.type == "status"] == ["queued", "running", "succeeded"]
    assert events[3].data["media_type"] == "image/png"
    replayed = [event async for event in jobs.events.follow(record.id, after=events[2].id) if event]
    assert replayed == events[3:]
    assert await jobs.events.is_over(record.id, after=events[-1].id)


async def test_cancel_while_running_stops_at_the_next_step(jobs: JobStore, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    record = await jobs.create(job_kinds.COUNT, count_arguments(ledger, steps=1000))
    await until_step(jobs, record.id, 2)
    assert (await jobs.request_cancel(record.id)).cancel_requested
    record = await jobs.wait(record.id, seconds=PATIENCE_S)
    assert record.status is JobStatus.CANCELLED
    assert len(ledger.read_text().splitlines()) < 1000


async def test_cancelling_one_job_leaves_the_next_alone(jobs: JobStore, tmp_path: Path) -> None:
    first = await jobs.create(job_kinds.COUNT, count_arguments(tmp_path / "first", steps=1000))
    second = await jobs.create(job_kinds.COUNT, count_arguments(tmp_path / "second", steps=3))
    third = await jobs.create(job_kinds.COUNT, count_arguments(tmp_path / "third", steps=3))
    await until_step(jobs, first.id, 1)
    assert (await jobs.request_cancel(second.id)).status is JobStatus.CANCELLED
    await jobs.request_cancel(first.id)
    assert (await jobs.wait(third.id, seconds=PATIENCE_S)).status is JobStatus.SUCCEEDED
    assert not (tmp_path / "second").exists()


@asynccontextmanager
async def keeping_busy(jobs: JobStore, folder: Path) -> AsyncIterator[None]:
    """Give the common worker something to do, so that another worker gets the next job."""
    blocker = await jobs.create(job_kinds.COUNT, count_arguments(folder / "blocker", steps=100_000))
    try:
        await until_step(jobs, blocker.id, 1)
        yield
    finally:
        await jobs.request_cancel(blocker.id)


@pytest.mark.parametrize("kill", [kill_group, subprocess.Popen.kill], ids=["whole worker", "parent only"])
async def test_a_killed_worker_costs_no_step_that_was_checkpointed(
    jobs: JobStore, start_worker: StartWorker, tmp_path: Path, kill: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    ledger = tmp_path / "ledger"
    async with keeping_busy(jobs, tmp_path):
        doomed = start_worker("security.onnx")
        record = await jobs.create(job_kinds.HANDED_ON, count_arguments(ledger, steps=25, step_s=0.1))
        await until_step(jobs, record.id, 3)
        kill(doomed)
    record = await jobs.wait(record.id, seconds=PATIENCE_S)
    assert (record.status, record.attempt, record.lost_workers) == (JobStatus.SUCCEEDED, 2, 1)
    steps = [int(line.split()[1]) for line in ledger.read_text().splitlines()]
    assert sorted(set(steps)) == list(range(25))
    assert len(steps) <= 26, "more than the step in progress was repeated"


async def test_a_paused_worker_that_wakes_up_late_writes_nothing(
    jobs: JobStore, start_worker: StartWorker, tmp_path: Path
) -> None:
    async with keeping_busy(jobs, tmp_path):
        paused = start_worker("security.onnx")
        record = await jobs.create(job_kinds.HANDED_ON, count_arguments(tmp_path / "ledger", steps=10, step_s=0.2))
        await until_step(jobs, record.id, 2)
        os.killpg(paused.pid, signal.SIGSTOP)
    ended = await jobs.wait(record.id, seconds=PATIENCE_S)
    assert (ended.status, ended.attempt) == (JobStatus.SUCCEEDED, 2)
    os.killpg(paused.pid, signal.SIGCONT)
    # It has let go of the job when it can do the next one.
    async with keeping_busy(jobs, tmp_path):
        arguments = count_arguments(tmp_path / "next", steps=1)
        following = await jobs.create(job_kinds.HANDED_ON, arguments)
        assert (await jobs.wait(following.id, seconds=PATIENCE_S)).status is JobStatus.SUCCEEDED
    kill_group(paused)
    assert await jobs.get(record.id) == ended


async def test_a_worker_told_to_stop_gives_its_job_back(
    jobs: JobStore, start_worker: StartWorker, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    async with keeping_busy(jobs, tmp_path):
        stopping = start_worker("security.onnx")
        record = await jobs.create(job_kinds.HANDED_ON, count_arguments(ledger, steps=25, step_s=0.1))
        await until_step(jobs, record.id, 3)
        stopping.terminate()
        assert await asyncio.to_thread(stopping.wait, PATIENCE_S) == 0
        assert (await jobs.get(record.id)).status is JobStatus.QUEUED
    record = await jobs.wait(record.id, seconds=PATIENCE_S)
    assert (record.status, record.attempt, record.lost_workers) == (JobStatus.SUCCEEDED, 2, 0)
    steps = [int(line.split()[1]) for line in ledger.read_text().splitlines()]
    assert steps == list(range(25)), "a step was done twice although the job was given back"


async def test_a_job_that_loses_three_workers_fails(jobs: JobStore, worker: subprocess.Popen[bytes]) -> None:
    record = await run(jobs, job_kinds.LOSE_WORKER)
    assert (record.status, record.attempt, record.lost_workers) == (JobStatus.FAILED, 3, 3)
    assert "3 workers were lost" in problem(record)["detail"]
    assert worker.poll() is None, "only the child may die"
