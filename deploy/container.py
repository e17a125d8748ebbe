"""What a container runs: the process that FACET_PROCESS names. `check` asks it whether it is well (HEALTHCHECK)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from deploy.commands import WEIGHT_BY_WORKER, command_of
from deploy.probes import Probe, http_probe, worker_probe
from shared.settings import DOMAINS, Settings


def probe_of(name: str, settings: Settings) -> Probe:
    """The question that tells whether a process of this container is alive.

    Args:
        name: as in `deploy.commands.command_of`.
        settings: its port, or the Redis where workers leave their signs of life.
    """
    if name in WEIGHT_BY_WORKER:
        return worker_probe(settings, WEIGHT_BY_WORKER[name])
    domain = next((domain for domain in DOMAINS if domain == name), None)
    port = settings.service_port(domain) if domain else settings.gateway_port
    return http_probe(f"http://127.0.0.1:{port}/health/live")


def main(arguments: Sequence[str]) -> int:
    """Become the process, or with `check` return 0 if it is well and 1 if it is not; 2 if there is no such process."""
    name = os.environ.get("FACET_PROCESS", "gateway")
    try:
        command = command_of(name)
    except ValueError as error:
        print(f"facet: FACET_PROCESS: {error}", file=sys.stderr)
        return 2
    if list(arguments) != ["check"]:
        os.execv(command[0], command)  # noqa: S606 - one of a fixed list of commands
    fault = probe_of(name, Settings())()
    print(fault or "well")
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
