"""The line that each request leaves in the log, written past the logging module.

Through a logger it takes several times as long, which at thousands of requests a second is a tenth of a core.
Its members are those of every other line (`shared.telemetry.logs`).
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

_LOGGER = "facet.http"
_PAUSE_S = 0.05
_MOST_WAITING = 256


def _to_standard_error(lines: bytes) -> None:
    stream = sys.stderr
    stream.write(lines.decode())
    stream.flush()


class RequestLines:
    """Writes lines, several at a time where many come.

    Args:
        process: name of the process.
        write: takes whole lines; standard error by default.
    """

    def __init__(self, process: str, *, write: Callable[[bytes], None] = _to_standard_error) -> None:
        self._process = process
        self._write = write
        self._waiting: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._second, self._stamp = 0, ""
        atexit.register(self.flush)

    def add(self, fields: Mapping[str, Any]) -> None:
        """Write a line with these members, at once or in a moment; none where the level of the log is above it."""
        if not logging.getLogger(_LOGGER).isEnabledFor(logging.INFO):
            return
        line = {
            "time": self._now(),
            "level": "info",
            "process": self._process,
            "logger": _LOGGER,
            "message": "request",
            **fields,
        }
        self._waiting.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if len(self._waiting) >= _MOST_WAITING:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_S, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._waiting = self._waiting, []
        if lines:
            self._write(b"".join(lines))

    def _now(self) -> str:
        seconds, rest = divmod(time.time(), 1)
        if seconds != self._second:
            self._second = int(seconds)
            self._stamp = datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._stamp}.{int(rest * 1000):03d}+00:00"
