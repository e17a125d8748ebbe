"""How a running job is stopped from outside. Not of `Exception`, so that no `except Exception` of a job swallows them.

JobInterrupted
├── JobCancelled   somebody asked for the end
├── GivenBack      this worker shuts down; the job goes back to its queue
└── FencedOut      another attempt has taken over; nothing more may be written
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class JobInterrupted(BaseException):
    """Leaves the function of a job at its next step."""


class JobCancelled(JobInterrupted):
    """Somebody asked for the end of the job.

    A function that can say what it has found so far catches it, and raises it again with that.

    Args:
        reason: for logs.
        result: what there is so far, as a result would be; None for nothing.
    """

    def __init__(self, reason: str = "", *, result: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.result = result


class GivenBack(JobInterrupted):
    """The worker shuts down; another one resumes from the last checkpoint."""


class FencedOut(JobInterrupted):
    """Another attempt has taken over."""
