"""A campaign whose worker is killed goes on from its last checkpoint, and evaluates nothing twice that is in it."""

from __future__ import annotations

import json

import pytest

from services.security.bit_error_campaigns.demo import labelled_shapes, shape_classifier
from shared.jobs.records import JobStatus
from tests.support.bit_error_campaigns import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORM = {"seeds": "60", "rates": "0.001,0.01,0.1", "analyses": "curve", "execution": "session_per_network"}


async def test_a_killed_worker_repeats_no_recorded_evaluation(bench: Bench) -> None:
    dataset, model = labelled_shapes(), shape_classifier()
    with bench.worker():
        await bench.until_attended()
        whole = await bench.result(await bench.post(dataset, model, **FORM))
        job_id = await bench.post(dataset, model, **FORM)
        await bench.until_begun(job_id)
    # The block above ends with SIGKILL to the worker and its children.
    record = await bench.jobs.get(job_id)
    assert record.checkpoint is not None
    recorded = json.loads(bench.blobs.get(record.checkpoint.partition(" ")[0]))["evaluated"]
    planned = 120 * (2 + 60 * 3)
    assert 0 < recorded < planned
    with bench.worker():
        resumed = await bench.finish(job_id)
    assert resumed.status is JobStatus.SUCCEEDED, resumed.problem
    assert resumed.result is not None
    by_attempt = resumed.result["execution"]["evaluations_by_attempt"]
    assert len(by_attempt) == resumed.attempt > 1
    assert by_attempt["1"] == recorded
    assert sum(by_attempt.values()) == planned == resumed.result["report"]["evaluations"]
    assert resumed.result["report"] == whole["report"]
