"""A worker that is killed: the attack goes on from its last checkpoint, within its budget as the target counts it."""

from __future__ import annotations

import pytest

from shared.jobs.records import JobStatus
from tests.integration.caption_attack.conftest import PICTURES
from tests.support.caption_attacks import AttackBench

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORM = {
    "queries": "80", "arms": "A,M", "stop_at_goal": "false", "pixels_percent": "5", "defences": "jpeg_75",
    "budget": "1000"
}  # fmt: skip


async def test_a_killed_worker_costs_at_most_the_batch_that_was_under_way(bench: AttackBench) -> None:
    with bench.worker():
        await bench.until_attended()
        whole = (await bench.result(await bench.post(PICTURES[0], **FORM)))["report"]
    before = bench.captioner.pictures
    bench.captioner.pause_s = 0.1
    with bench.worker():
        await bench.until_attended()
        job_id = await bench.post(PICTURES[0], **FORM)
        await bench.until_asked(before + 90)
    # SIGKILL to the worker while a batch is with the captioner.
    bench.captioner.pause_s = 0
    with bench.worker():
        resumed = await bench.finish(job_id)
    assert resumed.status is JobStatus.SUCCEEDED, resumed.problem
    assert resumed.result is not None
    assert resumed.attempt > 1
    report, seen = resumed.result["report"], bench.captioner.pictures - before
    assert seen <= report["spent"] <= report["budget"], "whatever was lost is counted"
    assert seen - whole["spent"] <= 20, "no more than one batch is asked about twice"
    ours, theirs = ([{**run, "spent": 0} for run in one["runs"]] for one in (report, whole))
    assert ours == theirs, "the course is that of an attack without a break"
