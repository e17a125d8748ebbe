"""How many requests may be with a model at once, found out while it runs."""

from __future__ import annotations

import math

_SMOOTHING = 0.2
_LEAST_GRADIENT = 0.5


class ConcurrencyLimit:
    """A limit that follows the time that answers take (Gradient2 of Netflix' concurrency-limits).

    While answers come within what is tolerated the limit grows by its square root; when they take longer, it shrinks
    in proportion. So a queue is as long as it does no harm, whatever a row of the model costs on this machine today.
    What is tolerated is a time and not a multiple of the shortest one seen: in batches, answers take longer under
    load, and more of them come.

    Args:
        least: it never gets smaller.
        most: it never gets larger.
        tolerated_s: seconds from arrival to answer.
    """

    def __init__(self, *, least: int, most: int, tolerated_s: float) -> None:
        self._least, self._most, self._tolerated_s = least, most, tolerated_s
        self._limit = float(most)

    @property
    def value(self) -> int:
        """Requests that may be waiting or computed now."""
        return int(self._limit)

    def learn(self, seconds: float, *, in_flight: int) -> None:
        """Take an answer into account.

        Args:
            seconds: from its arrival until it was there.
            in_flight: requests that were waiting or computed when it came; with few, the limit was not what bounded
                them, and nothing is learned for it to grow.
        """
        gradient = max(_LEAST_GRADIENT, min(1.0, self._tolerated_s / max(seconds, 1e-9)))
        if gradient == 1.0 and in_flight < self._limit / 2:
            return
        wanted = gradient * self._limit + (math.sqrt(self._limit) if gradient == 1.0 else 0.0)
        moved = (1 - _SMOOTHING) * self._limit + _SMOOTHING * wanted
        self._limit = max(self._least, min(self._most, moved))
