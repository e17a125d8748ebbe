"""How long a batch will take, learned from those before it: seconds = a * rows + b."""

from __future__ import annotations

import math

_KEPT = 0.95
_OUTLIER = 4.0
_LEAST_SEEN = 5
_WORTHWHILE = 0.98


class LatencyModel:
    """A line through recent batches; older ones weigh less, and one that stood still for a while does not bend it.

    Not thread-safe: it belongs to one event loop.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._weight = self._rows = self._seconds = self._rows_squared = self._product = 0.0

    @property
    def seen(self) -> bool:
        """Whether anything is known."""
        return self._seen > 0

    def learn(self, rows: int, seconds: float) -> None:
        """Take a batch into account.

        Args:
            rows: how many rows it had, at least 1.
            seconds: how long it took.
        """
        if self._seen >= _LEAST_SEEN:
            seconds = min(seconds, _OUTLIER * max(self.predict(rows), 1e-6))
        self._seen += 1
        self._weight = _KEPT * self._weight + 1
        self._rows = _KEPT * self._rows + rows
        self._seconds = _KEPT * self._seconds + seconds
        self._rows_squared = _KEPT * self._rows_squared + rows * rows
        self._product = _KEPT * self._product + rows * seconds

    def predict(self, rows: int) -> float:
        """Seconds that a batch of so many rows will take; 0 before the first was seen."""
        if not self._seen or not rows:
            return 0.0
        line = self._line()
        if line is None:  # batches of one size only: nothing is known of the slope
            return self._seconds / self._weight * max(1.0, rows * self._weight / self._rows)
        slope, rest = line
        return rest + slope * rows

    def best_batch_size(self, most: int) -> int:
        """The fewest rows whose batches have nearly the throughput of the largest.

        Larger ones would make everybody in them wait for each other without doing more work in a second: a model that
        takes 200 ms a row is run on single rows, one that takes 0.1 ms a row and 1 ms a batch on as many as may be.
        While nothing is known of other sizes than the usual one, twice that is tried, and not the largest at once.

        Args:
            most: rows of the largest batch.
        """
        if not self._seen:
            return most
        line = self._line()
        if line is None or line[0] <= 0:
            return min(most, 2 * math.ceil(self._rows / self._weight))
        slope, rest = line
        share = _WORTHWHILE * most / (most + rest / slope)
        return min(most, max(1, math.ceil(share * rest / slope / (1 - share))))

    def _line(self) -> tuple[float, float] | None:
        """Seconds a row and seconds a batch; None while batches of one size only were seen."""
        if not self._seen:
            return None
        mean_rows, mean_seconds = self._rows / self._weight, self._seconds / self._weight
        spread = self._rows_squared / self._weight - mean_rows**2
        if spread < 1e-3:
            return None
        slope = max(0.0, (self._product / self._weight - mean_rows * mean_seconds) / spread)
        return slope, max(0.0, mean_seconds - slope * mean_rows)
