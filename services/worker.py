"""The worker of the fleet's jobs: `python -m services.worker --weight onnx` (or torch).

This is the one place that knows the jobs of every domain; their functions are imported when the first job of a kind
comes, so that a worker loads no more than it needs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from importlib import import_module

from services.medical.kinds import KINDS as MEDICAL
from services.uncertainty.kinds import KINDS as UNCERTAINTY
from shared.jobs.kinds import WEIGHTS, JobKind, JobKinds, queues_of
from shared.jobs.worker import Worker
from shared.settings import get_settings
from shared.telemetry.tracing import TracingUnavailable

KINDS: tuple[JobKind, ...] = (*MEDICAL, *UNCERTAINTY)
"""The jobs of every domain."""

FURTHER_KINDS = "FACET_WORKER_KINDS"
"""Environment variable that names a module with further KINDS, for tests and for operators' own jobs."""


def kinds() -> JobKinds:
    """All kinds that this process can do."""
    module = os.environ.get(FURTHER_KINDS)
    further: tuple[JobKind, ...] = import_module(module).KINDS if module else ()
    return JobKinds((*KINDS, *further))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and work until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m services.worker", description="Works on the jobs of the fleet.")
    parser.add_argument("--weight", choices=WEIGHTS, required=True, help="which queues to read: <domain>.<weight>")
    parser.add_argument("--queues", help="comma-separated queues to read instead of all domains'")
    parser.add_argument("--concurrency", type=int, default=1, help="jobs at a time (default: 1)")
    options = parser.parse_args(arguments)
    queues = options.queues.split(",") if options.queues else queues_of(options.weight)
    try:
        worker = Worker(kinds(), get_settings(), name=f"worker-{options.weight}", queues=queues)
    except TracingUnavailable as error:
        parser.exit(2, f"facet: {error}\n")
    worker.run(concurrency=options.concurrency)


if __name__ == "__main__":
    main()
