"""One child process of the fleet: what it is, and starting and ending it with everything that it started itself.

Every child leads a session of its own. So the terminal's Ctrl-C reaches the supervisor only, which stops the
children in order, and a whole group can be killed: a Celery worker with its pool, for one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from deploy.commands import ENVIRONMENT
from deploy.probes import Probe

_TAIL_BYTES = 16 * 1024


class Tier(IntEnum):
    """Processes stop from the highest tier to the lowest; the lowest starts first."""

    STORE = 0
    BACKEND = 1
    EDGE = 2


@dataclass(frozen=True, slots=True)
class Specification:
    """A process that belongs to the fleet."""

    name: str
    """Name in messages and of the log file."""
    command: tuple[str, ...]
    tier: Tier
    ready: Probe
    """Is it ready to work? Asked until it says so the first time."""
    alive: Probe
    """Does it still answer? Asked every few seconds; a process that stays silent is killed and started again."""
    address: str = ""
    """Where it listens, for people."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables on top of the supervisor's own."""
    grace_s: float = 15.0
    """Seconds between the request to stop and SIGKILL."""


class Process:
    """A running specification.

    Args:
        specification: what to run.
        log: file that its output is appended to.
    """

    def __init__(self, specification: Specification, log: Path) -> None:
        self.specification = specification
        self.log = log
        self.started_at = time.monotonic()
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                specification.command,
                env={**ENVIRONMENT, **os.environ, **specification.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id, and the id of its process group."""
        return self._popen.pid

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started_at

    def exit_code(self) -> int | None:
        """None while it runs; negative signal numbers as in `subprocess`."""
        return self._popen.poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process alone: how its own children end is its business."""
        if self.exit_code() is None:
            self._popen.terminate()

    def kill(self) -> None:
        """End it and whatever is left of its group, now."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def tail(self, lines: int) -> list[str]:
        """The last lines of its log."""
        with self.log.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            return log.read().decode(errors="replace").splitlines()[-lines:]


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
