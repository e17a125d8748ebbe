"""Where a request's time went, answered as Server-Timing (W3C Server Timing) and counted in Prometheus.

The four phases are `queue` (waiting for a slot), `pre` (decoding and checking), `infer` (numerics and network)
and `post` (encoding the answer).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Phase = Literal["queue", "pre", "infer", "post"]

PHASES: tuple[Phase, ...] = ("queue", "pre", "infer", "post")


class Timings:
    """Seconds per phase of one request; phases may be entered more than once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, phase: Phase, seconds: float) -> None:
        """Count `seconds` towards a phase."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def header(self) -> str:
        """The value of Server-Timing, durations in milliseconds."""
        return ", ".join(f"{phase};dur={seconds * 1000:.1f}" for phase, seconds in self.seconds.items())


_current: ContextVar[Timings | None] = ContextVar("facet_timings", default=None)


collect = _current.set
uncollect = _current.reset
"""Begin and end collecting; `collecting` where a few microseconds do not matter."""


@contextmanager
def collecting() -> Iterator[Timings]:
    """Collect the phases of what runs inside, threads started through anyio included."""
    timings = Timings()
    token = collect(timings)
    try:
        yield timings
    finally:
        uncollect(token)


@contextmanager
def timed(phase: Phase) -> Iterator[None]:
    """Count the time spent inside towards a phase of the current request, if there is one."""
    began = time.perf_counter()
    try:
        yield
    finally:
        count_phase(phase, time.perf_counter() - began)


def count_phase(phase: Phase, seconds: float) -> None:
    """Count time that was measured elsewhere towards a phase of the current request, if there is one."""
    timings = _current.get()
    if timings is not None:
        timings.add(phase, seconds)
