"""Ends the fleet's processes when the supervisor is killed and can no longer do it itself.

It holds one end of a pipe, through which the supervisor tells the process groups that live. The pipe closes when the
supervisor ends, however it ends, `kill -9` included; groups that were not taken back by then are asked to stop and,
after a grace, killed. Unlike the kernel's PR_SET_PDEATHSIG this also reaches the grandchildren (the pools of workers)
and works on macOS. Run as a script, on the standard library alone, so that it starts in milliseconds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TextIO

_GRACE_S = 10.0


class Lifeline:
    """The supervisor's end of the pipe.

    Args:
        grace_s: seconds between SIGTERM and SIGKILL once the supervisor is gone.
    """

    def __init__(self, grace_s: float = _GRACE_S) -> None:
        far_end, near_end = os.pipe()
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(grace_s)],
            stdin=far_end,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(far_end)
        self._pipe = os.fdopen(near_end, "wb", buffering=0)

    def hold(self, group: int) -> None:
        """End this process group if the supervisor dies."""
        self._tell(f"+{group}\n")

    def release(self, group: int) -> None:
        """Forget a group that has ended."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the other side; whatever was not released is stopped."""
        self._pipe.close()
        self._popen.wait()

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # without its lifeline the fleet still runs
            self._pipe.write(line.encode())


def _signal(groups: set[int], number: signal.Signals) -> set[int]:
    """Signal all groups; returns those that still exist."""
    left = set()
    for group in groups:
        with suppress(OSError):
            os.killpg(group, number)
            left.add(group)
    return left


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def main(pipe: TextIO, grace_s: float) -> None:
    """Read groups until the pipe closes, then end those that are left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in pipe:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    groups = _signal(groups, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while groups and time.monotonic() < deadline:
        time.sleep(0.05)
        groups = {group for group in groups if _exists(group)}
    _signal(groups, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.stdin, float(sys.argv[1]))
