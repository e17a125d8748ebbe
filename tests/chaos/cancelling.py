"""How long a cancel takes, per kind of job: from DELETE to the job's end, and to the next job on the same worker."""

from __future__ import annotations

import asyncio
import io
import random
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from services.medical.low_dose_ct.capability import CT_ENHANCEMENT_SERIES
from services.medical.low_dose_ct.scanning.chest_phantom import chest_phantom
from services.medical.low_dose_ct.schemas import EnhancementOptions
from services.medical.low_dose_ct.series import EnhancementSeries
from shared.http.negotiation import NPY
from shared.jobs.kinds import JobKind, JobKinds
from shared.jobs.records import JobStatus
from shared.jobs.store import JobStore, open_job_store
from shared.storage.blobs import BlobStore
from tests.chaos.drill import Say, until_attempt
from tests.chaos.faults import WORK
from tests.chaos.processes import Processes

SLICES = 200
"""Of a series that is cancelled: more than are done before its cancel."""


async def cancels(processes: Processes, folder: Path, rounds: int, say: Say) -> list[dict[str, Any]]:
    """The drill of must-show 3, for each kind; one worker runs."""
    steps = {"steps": 10_000, "step_s": 0.02, "ledger": str(folder / "cancels"), "fault": None}
    return [
        await _cancel_often(processes, WORK, steps, "steps of 20 ms", rounds, say),
        await _cancel_often(
            processes, CT_ENHANCEMENT_SERIES, _series(processes), "slices of 512 x 512, on one thread", rounds, say
        ),
    ]


def _series(processes: Processes) -> dict[str, Any]:
    """Arguments of a long series, all of one phantom slice."""
    content = io.BytesIO()
    np.save(content, chest_phantom(np.random.default_rng(7)))
    blob = BlobStore(processes.settings.blob_url).put(content.getvalue(), NPY)
    series = EnhancementSeries(options=EnhancementOptions(unit="hu"), inputs=[blob.digest] * SLICES, media_type=NPY)
    return series.model_dump(mode="json")


async def _cancel_often(
    processes: Processes, kind: JobKind, arguments: dict[str, Any], what: str, rounds: int, say: Say
) -> dict[str, Any]:
    times: list[tuple[float, float]] = []
    draw = random.Random(7)
    async with (
        open_job_store(processes.settings, JobKinds([kind])) as store,
        httpx.AsyncClient(base_url=processes.gateway_url) as client,
    ):
        current = await store.create(kind, arguments)
        await until_attempt(store, current.id, 1)
        for number in range(rounds):
            following = await store.create(kind, arguments)
            await asyncio.sleep(draw.uniform(0.05, 0.5))  # anywhere in a step
            times.append(await _cancel(client, store, current.id, following.id))
            current = following
            if number % 20 == 19:
                say(f"{kind.name}: cancelled {number + 1} of {rounds}")
        await client.delete(f"/v1/jobs/{current.id}")
        await store.wait(current.id, seconds=60)
    return {
        "kind": kind.name,
        "cancels": rounds,
        "steps": what,
        "bound_s": kind.cancel_bound_s,
        "ended_ms": _percentiles([ended for ended, _ in times]),
        "freed_ms": _percentiles([freed for _, freed in times]),
    }


async def _cancel(client: httpx.AsyncClient, store: JobStore, job: str, following: str) -> tuple[float, float]:
    """Seconds until the job has ended, and until the following one has begun."""
    began = time.perf_counter()
    answer = await client.delete(f"/v1/jobs/{job}")
    assert answer.status_code == 202, answer.text
    record = await store.wait(job, seconds=60)
    ended = time.perf_counter() - began
    assert record.status is JobStatus.CANCELLED, record
    while (await store.get(following)).attempt < 1:  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    return ended, time.perf_counter() - began


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {
        name: min(len(ordered) - 1, round(share * len(ordered)))
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return {name: round(ordered[index] * 1000, 1) for name, index in at.items()}
