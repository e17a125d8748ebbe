"""The course of the learning rate: lower where validation stands still, the end where it does for long."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """How long a stage goes on; the defaults are the authors' (paper sheet, section 5).

    Attributes:
        learning_rate: at the start.
        factor: of the rate where validation stood still.
        patience: epochs without improvement after which the rate falls.
        lowest: rate below which it does not fall.
        stop_after: epochs without improvement after which training ends.
    """

    learning_rate: float = 1e-4
    factor: float = 0.1
    patience: int = 40
    lowest: float = 1e-8
    stop_after: int = 83


@dataclass(slots=True)
class Plateau:
    """State of the schedule.

    Attributes:
        rate: learning rate of the next epoch.
        best: lowest validation loss so far.
        waited: epochs since the rate fell or the loss improved.
        stale: epochs since the loss improved.
    """

    rate: float
    best: float = math.inf
    waited: int = 0
    stale: int = 0

    def take(self, loss: float, options: ScheduleOptions) -> tuple[bool, bool]:
        """Count an epoch with its validation loss.

        Returns:
            Whether it is the best so far, and whether the rate fell, upon which the best weights are to be taken back.
        """
        if loss < self.best:
            self.best, self.waited, self.stale = loss, 0, 0
            return True, False
        self.waited += 1
        self.stale += 1
        falls = self.waited > options.patience and self.rate > options.lowest
        if falls:
            self.rate, self.waited = max(options.lowest, self.rate * options.factor), 0
        return False, falls

    def ended(self, options: ScheduleOptions) -> bool:
        """Whether validation stood still for so long that training ends."""
        return self.stale >= options.stop_after

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)
