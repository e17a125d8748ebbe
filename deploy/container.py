"""What a container runs: the process that FACET_PROCESS names. `check` asks it whether it is well (HEALTHCHECK).

The check runs every few seconds in every container. So the start leaves a note of what to ask, and the check of an
HTTP process needs the standard library only: with the settings and their libraries it would cost half a second each.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NoReturn

NOTE = Path(tempfile.gettempdir()) / "facet-check"
"""Holds the port of an HTTP process, or the weight of a worker."""

_TIMEOUT_S = 5.0


def main(arguments: Sequence[str]) -> int:
    """Become the process, or with `check` return 0 if it is well and 1 if it is not; 2 if there is no such process."""
    if list(arguments) == ["check"]:
        fault = check(NOTE.read_text())
        print(fault or "well")
        return 1 if fault else 0
    try:
        become(os.environ.get("FACET_PROCESS", "gateway"))
    except ValueError as error:
        print(f"facet: FACET_PROCESS: {error}", file=sys.stderr)
        return 2


def become(name: str) -> NoReturn:
    """Replace this process by the named one, leaving the note for the checks.

    Raises:
        ValueError: there is no such process.
    """
    from deploy.commands import ENVIRONMENT

    command, note = _plan(name)
    NOTE.write_text(note)
    os.execve(command[0], command, {**ENVIRONMENT, **os.environ})  # noqa: S606 - one of a fixed list of commands


def check(note: str) -> str | None:
    """None if the process of this container is alive, else what is wrong.

    Args:
        note: what the start wrote down.
    """
    if not note.isdigit():
        return _check_worker(note)
    connection = HTTPConnection("127.0.0.1", int(note), timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return f"does not answer ({type(error).__name__})"
    finally:
        connection.close()
    return None if status == 200 else f"answers {status}"


def _check_worker(weight: str) -> str | None:
    from deploy.probes import worker_probe
    from shared.jobs.kinds import WEIGHTS
    from shared.settings import Settings

    found = next(known for known in WEIGHTS if known == weight)
    return worker_probe(Settings(), found)()


def _plan(name: str) -> tuple[tuple[str, ...], str]:
    """The command of a process and the note for its check.

    Raises:
        ValueError: there is no such process.
    """
    from deploy.commands import WEIGHT_BY_WORKER, command_of
    from shared.settings import DOMAINS, Settings

    command = command_of(name)
    if name in WEIGHT_BY_WORKER:
        return command, WEIGHT_BY_WORKER[name]
    settings = Settings()
    domain = next((domain for domain in DOMAINS if domain == name), None)
    return command, str(settings.service_port(domain) if domain else settings.gateway_port)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
