"""The whole of Facet in real processes, as `make run` starts it, for end-to-end tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.addresses import NOWHERE

ROOT = Path(__file__).parents[2]

_START_TIMEOUT_S = 240
_STOP_TIMEOUT_S = 120


@dataclass(frozen=True)
class Fleet:
    """A running fleet."""

    url: str
    """The gateway."""
    supervisor: subprocess.Popen[str]
    ready_file: Path
    state: Path
    """Folder of its logs, blobs and Redis."""

    @property
    def facts(self) -> dict[str, Any]:
        """URLs and process ids as of now: `services`, `redis_url`, `pids` by name, `supervisor`."""
        facts: dict[str, Any] = json.loads(self.ready_file.read_text())
        return facts

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name as of now."""
        pids: dict[str, int] = self.facts["pids"]
        return pids

    def log(self, name: str) -> str:
        """What a process has logged."""
        return (self.state / "logs" / f"{name}.log").read_text()

    def stop(self) -> int:
        """Stop it as a terminal's Ctrl-C does; returns the supervisor's exit code."""
        self.supervisor.terminate()
        return self.supervisor.wait(timeout=_STOP_TIMEOUT_S)


def start_fleet(
    state: Path, *, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None, root: Path = ROOT
) -> Fleet:
    """Start a fleet on free ports and wait until it is ready.

    Args:
        state: folder for its data; what the supervisor prints goes to supervisor.log there.
        arguments: more arguments of the supervisor, such as `--without-torch`.
        environment: variables on top of those of the tests.
        root: of the tree to start.

    Raises:
        RuntimeError: it did not get ready; holds what the supervisor said.
    """
    state.mkdir(parents=True, exist_ok=True)
    ready_file = state / "ready.json"
    command = [sys.executable, "-m", "deploy.local", "--free-ports", "--state", str(state)]
    command += ["--ready-file", str(ready_file), *arguments]
    said = state / "supervisor.log"
    with said.open("w") as output:
        supervisor = subprocess.Popen(
            command,
            cwd=root,
            env={**_own_environment(), **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not ready_file.exists():
        if supervisor.poll() is not None or time.monotonic() > deadline:
            supervisor.terminate()
            supervisor.wait(timeout=_STOP_TIMEOUT_S)
            raise RuntimeError(f"the fleet did not start:\n{said.read_text()}")
        time.sleep(0.1)
    url: str = json.loads(ready_file.read_text())["url"]
    return Fleet(url=url, supervisor=supervisor, ready_file=ready_file, state=state)


def _own_environment() -> dict[str, str]:
    """That of the tests, without the addresses that lead nowhere: a fleet brings a Redis of its own."""
    return {name: value for name, value in os.environ.items() if name not in NOWHERE}
