"""The worker of the fleet's jobs: `python -m services.worker --weight onnx` (or torch).

It knows the jobs of every domain (`services.kinds`); their functions are imported when the first job of a kind
comes, so that a worker loads no more than it needs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from services.declarations import declared_capabilities
from services.kinds import all_kinds
from shared.http.files import register_extensions
from shared.jobs.kinds import WEIGHTS, queues_of
from shared.jobs.worker import Worker
from shared.settings import get_settings
from shared.telemetry.tracing import TracingUnavailable


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and work until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m services.worker", description="Works on the jobs of the fleet.")
    parser.add_argument("--weight", choices=WEIGHTS, required=True, help="which queues to read: <domain>.<weight>")
    parser.add_argument("--queues", help="comma-separated queues to read instead of all domains'")
    parser.add_argument("--concurrency", type=int, default=1, help="jobs at a time (default: 1)")
    options = parser.parse_args(arguments)
    # Read when torch is loaded, by the first job that needs it. On cores that others use, too, threads that wait busily
    # take the time of those they wait for: 720 ms instead of 210 for one and the same step on two shared cores, against
    # 100 instead of 125 on two of its own.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    register_extensions(declared_capabilities().extensions)
    queues = options.queues.split(",") if options.queues else queues_of(options.weight)
    try:
        worker = Worker(all_kinds(), get_settings(), name=f"worker-{options.weight}", queues=queues)
    except TracingUnavailable as error:
        parser.exit(2, f"facet: {error}\n")
    worker.run(concurrency=options.concurrency)


if __name__ == "__main__":
    main()
