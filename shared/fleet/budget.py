"""How often a model may be asked."""

from __future__ import annotations

import threading

from shared.problems import Conflict


class BudgetExhausted(Conflict):
    """A model may not be asked any further."""

    slug = "query-budget-exhausted"
    title = "Query budget exhausted"


class QueryBudget:
    """Counts queries and refuses those beyond a limit; safe to share between threads.

    A query counts before it is sent, and no more when it is certain that the model has not seen it. So the model never
    sees more than the limit, whatever breaks.

    Args:
        limit: most queries.
        spent: those of earlier attempts of a job, from its checkpoint.
    """

    def __init__(self, limit: int, *, spent: int = 0) -> None:
        if limit < 0 or spent < 0:
            raise ValueError("a budget and what is spent of it are not negative")
        self.limit = limit
        self._spent = spent
        self._lock = threading.Lock()

    @property
    def spent(self) -> int:
        """Queries that the model has seen, or may have."""
        return self._spent

    @property
    def left(self) -> int:
        """Queries that may still be made."""
        return max(0, self.limit - self._spent)

    def spend(self, count: int) -> None:
        """Count queries.

        Raises:
            BudgetExhausted: they are more than are left; none of them counts.
        """
        with self._lock:
            if self._spent + count > self.limit:
                raise BudgetExhausted(
                    f"The budget of {self.limit} queries does not allow {count} more: {self._spent} are spent."
                )
            self._spent += count

    def give_back(self, count: int) -> None:
        """Take back the count of queries that the model has not seen."""
        with self._lock:
            self._spent -= count
