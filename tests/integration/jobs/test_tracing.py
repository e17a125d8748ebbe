"""Attempts as spans: out of a forked child, with numbers that go on after a killed worker, flushed when one stops."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shared.jobs.records import JobStatus
from shared.jobs.store import JobStore
from shared.request_context import new_context
from shared.settings import Settings
from tests.integration.jobs import job_kinds
from tests.integration.jobs.conftest import ROOT, kill_group
from tests.support.trace_receiver import ReceivedSpan, TraceReceiver, receiving_traces

PATIENCE_S = 60.0
QUEUE = "generation.onnx"


@asynccontextmanager
async def traced_worker(settings: Settings, jobs: JobStore, url: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "FACET_REDIS_URL": settings.redis_url,
        "FACET_BLOB_URL": settings.blob_url,
        "FACET_WORKER_HEARTBEAT_S": str(settings.worker_heartbeat_s),
        "FACET_WORKER_KINDS": "tests.integration.jobs.job_kinds",
        "FACET_TRACING": "otlp",
        "FACET_TRACING_ENDPOINT": url,
    }
    command = [sys.executable, "-m", "services.worker", "--weight", "onnx", "--queues", QUEUE]
    worker = await asyncio.to_thread(subprocess.Popen, command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await jobs.live_workers(QUEUE):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield worker
    finally:
        kill_group(worker)


def arguments(folder: Path, *, steps: int) -> dict[str, Any]:
    return {"steps": steps, "step_s": 0.05, "ledger": str(folder / "ledger")}


def attempts(receiver: TraceReceiver, trace_id: str) -> list[ReceivedSpan]:
    return [span for span in receiver.of(trace_id) if span.kind == "consumer"]


async def test_a_lost_worker_and_one_that_stops(fleet_settings: Settings, jobs: JobStore, tmp_path: Path) -> None:
    context = new_context(traceparent=f"00-{'5' * 32}-{'6' * 16}-01")
    with receiving_traces() as receiver:
        async with traced_worker(fleet_settings, jobs, receiver.url) as worker:
            made = await jobs.create(job_kinds.TRACED, arguments(tmp_path, steps=40), context=context)
            async with asyncio.timeout(PATIENCE_S):
                async for event in jobs.events.follow(made.id):
                    if event and event.type == "progress" and event.data["step"] >= 3:
                        break
            child = int((tmp_path / "ledger").read_text().split()[2])
            assert child != worker.pid
            os.kill(child, signal.SIGKILL)
            ended = await jobs.wait(made.id, seconds=PATIENCE_S)
            assert (ended.status, ended.attempt) == (JobStatus.SUCCEEDED, 2)
            worker.terminate()
            assert await asyncio.to_thread(worker.wait, PATIENCE_S) == 0
        (span,) = attempts(receiver, context.trace_id)
    assert (span.service, span.parent_id) == ("facet-worker-onnx", context.span_id)
    assert (span.attributes["facet.job.attempt"], span.attributes["facet.job.outcome"]) == (2, "succeeded")
    assert 30 <= span.events.count("checkpoint") <= 37


async def test_a_job_that_is_not_sampled_leaves_no_span(
    fleet_settings: Settings, jobs: JobStore, tmp_path: Path
) -> None:
    quiet = new_context(traceparent=f"00-{'7' * 32}-{'6' * 16}-00")
    failed = new_context(traceparent=f"00-{'8' * 32}-{'6' * 16}-01")
    with receiving_traces() as receiver:
        async with traced_worker(fleet_settings, jobs, receiver.url) as worker:
            made = await jobs.create(job_kinds.TRACED, arguments(tmp_path, steps=1), context=quiet)
            assert (await jobs.wait(made.id, seconds=PATIENCE_S)).status is JobStatus.SUCCEEDED
            made = await jobs.create(job_kinds.TRACED, {"steps": "none"}, context=failed)
            assert (await jobs.wait(made.id, seconds=PATIENCE_S)).status is JobStatus.FAILED
            worker.terminate()
            assert await asyncio.to_thread(worker.wait, PATIENCE_S) == 0
        (span,) = attempts(receiver, failed.trace_id)
        assert not receiver.of(quiet.trace_id)
    assert (span.failed, span.attributes["facet.job.outcome"]) == (True, "failed")
