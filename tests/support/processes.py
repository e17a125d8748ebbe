"""Looking at real processes from outside, and waiting for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 90.0


def until(condition: Callable[[], bool], *, said: object = "it did not happen") -> None:
    """Wait until a condition holds; fail with what was `said` if it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, said
        time.sleep(0.01)


def _status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command name (state, parent, group, ...); empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def runs(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    return _status(pid)[:1] not in ([], ["Z"])


def group_members(group: int) -> list[int]:
    """The processes of a group, zombies left out."""
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if _status(pid)[2:3] == [str(group)] and runs(pid)]


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(descendant for child in children for descendant in family(int(child)))]
