"""The command of every process of Facet, by name; the same on a laptop and in a container."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from shared.jobs.kinds import WEIGHTS, Weight
from shared.settings import DOMAINS

ENVIRONMENT: Mapping[str, str] = {
    # By default glibc makes a heap for each thread, eight for a core, and what one thread frees no other can use.
    "MALLOC_ARENA_MAX": "2",
    # The gateway's HTTP server brings jemalloc, which by itself gives nothing back while a process has nothing to do.
    "_RJEM_MALLOC_CONF": "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0",
}
"""Variables of every process but those that an operator has set otherwise; they must be there before it starts."""

HTTP_PROCESSES = ("gateway", *DOMAINS)


def worker_name(weight: Weight) -> str:
    """The name of the worker process of a weight, such as "worker-onnx"."""
    return f"worker-{weight}"


WEIGHT_BY_WORKER: Mapping[str, Weight] = {worker_name(weight): weight for weight in WEIGHTS}


def command_of(name: str) -> tuple[str, ...]:
    """The arguments that start a process.

    Args:
        name: "gateway", a domain, "worker-onnx" or "worker-torch".

    Raises:
        ValueError: there is no such process.
    """
    if name in HTTP_PROCESSES:
        return (sys.executable, "-m", "deploy.serve", name)
    if name in WEIGHT_BY_WORKER:
        return (sys.executable, "-m", "services.worker", "--weight", WEIGHT_BY_WORKER[name])
    raise ValueError(f"no process is called {name!r}; there are {', '.join((*HTTP_PROCESSES, *WEIGHT_BY_WORKER))}")
