"""A lane of the short way that counts who is in, and refuses when it is told to."""

from __future__ import annotations

from shared.http.express import Asked
from shared.problems import Problem, ReducedCapacity


class CountingLane:
    """The part that lanes of tests have in common."""

    def __init__(self) -> None:
        self.full = False
        self.let_in = 0

    def refusal(self, asked: Asked) -> Problem | None:
        if self.full:
            return ReducedCapacity("Too many wait.", retry_after_s=3)
        self.let_in += 1
        return None

    def ended(self, asked: Asked) -> None:
        self.let_in -= 1
