"""What becomes of requests that get no batch of their own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class BatchCounts:
    """Requests that no batch of their own was made for, read when metrics are scraped.

    Attributes:
        rejected: by reason: `queue_full`, `deadline` where that could not be met, and whatever else is counted.
        expired: accepted, and dropped before they were computed because their deadline passed.
        coalesced: answered with the run of an equal request under way.
        remembered: answered with the kept answer of an equal request.
    """

    rejected: Counter[str] = field(default_factory=lambda: Counter(queue_full=0, deadline=0))
    expired: int = 0
    coalesced: int = 0
    remembered: int = 0
