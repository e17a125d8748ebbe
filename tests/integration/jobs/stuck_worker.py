"""A real worker whose consumer goes wrong a moment after it began: `python -m tests.integration.jobs.stuck_worker HOW`.

`hang` blocks its loop; `deaf` makes it stop taking messages while its loop runs on.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from celery import bootsteps

from shared.jobs.kinds import JobKinds
from shared.jobs.worker import Worker
from shared.settings import get_settings
from tests.integration.jobs.job_kinds import KINDS

QUEUE = "uncertainty.onnx"


class Fault(bootsteps.StartStopStep):  # type: ignore[misc]
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        if sys.argv[1] == "hang":
            parent.timer.call_after(1.0, time.sleep, (3600,))
        else:
            parent.timer.call_after(1.0, parent.cancel_task_queue, (QUEUE,))


if __name__ == "__main__":
    worker = Worker(JobKinds(KINDS), get_settings(), name="stuck", queues=[QUEUE])
    worker._app.steps["consumer"].add(Fault)
    worker.run()
