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

_INTERVALS = 128
"""Most intervals of one request that are kept: a series must not make a trace of thousands of spans."""

PHASES: tuple[Phase, ...] = ("queue", "pre", "infer", "post")


class Timings:
    """Seconds per phase of one request; phases may be entered more than once.

    Attributes:
        seconds: by phase.
        model: name and version of the model that was asked, if one was.
        rows: rows of the batch that it was computed in, 0 without one.
        intervals: phase, beginning and end (`time.perf_counter`) of each time that one was entered; None unless the
            request is traced.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.model: tuple[str, str] | None = None
        self.rows = 0
        self.intervals: list[tuple[Phase, float, float]] | None = None

    def add(self, phase: Phase, began: float, ended: float) -> None:
        """Count the time between two instants (`time.perf_counter`) towards a phase."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + ended - began
        if self.intervals is not None and len(self.intervals) < _INTERVALS:
            self.intervals.append((phase, began, ended))

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
        if (timings := _current.get()) is not None:
            timings.add(phase, began, time.perf_counter())


def count_batch(*, arrived: float, began: float, ended: float, rows: int) -> None:
    """Count the wait for a batch, and its run, towards the current request, if there is one.

    Args:
        arrived: when it began to wait (`time.perf_counter`).
        began: when the batch did.
        ended: likewise.
        rows: of the batch.
    """
    timings = _current.get()
    if timings is not None:
        timings.add("queue", arrived, began)
        timings.add("infer", began, ended)
        timings.rows = rows


def note_model(name: str, version: str) -> None:
    """Say which model the current request asks, if there is one."""
    timings = _current.get()
    if timings is not None:
        timings.model = (name, version)
