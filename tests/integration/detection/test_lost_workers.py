"""An evaluation whose worker is killed goes on from its last checkpoint."""

from __future__ import annotations

import pytest

from services.perception.detection.evaluation_progress import FoundSoFar
from services.perception.detection.jobs import CHECKPOINT_EVERY
from shared.jobs.records import JobStatus
from tests.integration.detection.test_evaluations import coco_set, right_boxes
from tests.support.detection import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURES = 1000


async def test_a_killed_worker_costs_only_what_is_not_recorded(bench: Bench) -> None:
    dataset = coco_set(right_boxes(PICTURES))
    with bench.worker():
        await bench.until_attended()
        whole = await bench.result(await bench.post(dataset, model="bright"))
        job_id = await bench.post(dataset, model="bright")
        await bench.until_begun(job_id)
    # The block above ends with SIGKILL to the worker and its children.
    record = await bench.jobs.get(job_id)
    assert record.checkpoint is not None
    recorded = len(FoundSoFar.of_bytes(bench.blobs.get(record.checkpoint.partition(" ")[0])).pictures)
    assert 0 < recorded < PICTURES
    assert recorded % CHECKPOINT_EVERY == 0
    with bench.worker():
        resumed = await bench.finish(job_id)
    assert resumed.status is JobStatus.SUCCEEDED, resumed.problem
    assert resumed.attempt > 1
    assert resumed.result is not None
    assert resumed.result["report"] == whole["report"]
