"""What requests to each model came to since the process began, as statistics of inference servers tell it."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

from shared.telemetry.timing import PHASES, Timings


@dataclass(slots=True)
class ModelTotals:
    """Sums over the requests that got as far as a model.

    Attributes:
        succeeded: how many were answered below 400.
        succeeded_s: seconds from their arrival to the end of their answers.
        failed: how many others.
        failed_s: seconds likewise.
        phases_s: seconds by phase, of those that succeeded.
        last: when the last one ended (`time.time`); 0 without one.
    """

    succeeded: int = 0
    succeeded_s: float = 0.0
    failed: int = 0
    failed_s: float = 0.0
    phases_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    last: float = 0.0

    def add(self, timings: Timings, *, status: int, seconds: float) -> None:
        """Count one answered request."""
        self.last = time.time()
        if status >= 400:
            self.failed += 1
            self.failed_s += seconds
            return
        self.succeeded += 1
        self.succeeded_s += seconds
        for phase, spent in timings.seconds.items():
            self.phases_s[phase] += spent


@dataclass(slots=True)
class BatchTotals:
    """Sums over the runs of a model.

    Attributes:
        runs: how many, by their rows.
        seconds: that they took, by their rows.
    """

    runs: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    seconds: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, rows: int, seconds: float) -> None:
        """Count one run."""
        self.runs[rows] += 1
        self.seconds[rows] += seconds
