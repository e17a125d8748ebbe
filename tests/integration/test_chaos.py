"""The chaos drill in small: few jobs, each window hit, Redis and the gateway killed once. In full: `make chaos`."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.chaos.drill import Plan, late_twins, survive
from tests.chaos.processes import Processes

PLAN = Plan(
    jobs=16, workers=2, worker_kills=3, kill_every_s=1.5, redis_restarts=(signal.SIGKILL,), gateway_restarts=1, seed=3
)

MUST_BE_ZERO = (
    "not ended",
    "without exactly one done event",
    "with steps missing",
    "whose result is of no attempt that finished",
)


@pytest.mark.slow
async def test_every_job_ends_once_whatever_is_killed(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    try:
        processes.start_redis()
        processes.start_gateway()
        for number in range(PLAN.workers):
            processes.start_worker(f"worker-{number}")
        found = await survive(processes, tmp_path, PLAN, print)
        assert {name: found[name] for name in MUST_BE_ZERO} == dict.fromkeys(MUST_BE_ZERO, 0), found
        assert found["succeeded"] == PLAN.jobs
        assert found["attempts"] >= PLAN.jobs * 3 // 2  # the faults did happen: half of the jobs had two attempts
        processes.kill("worker-1")
        twins = await late_twins(processes, tmp_path, 1, print)
        assert twins["writes of the late twin"] == twins["results that are not the heir's"] == 0
    finally:
        processes.close()
