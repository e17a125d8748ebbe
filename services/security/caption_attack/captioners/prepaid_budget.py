"""A budget for transports that spend each try, between them and a campaign that has spent the first."""

from __future__ import annotations

from shared.fleet.budget import QueryBudget


class PrepaidBudget(QueryBudget):
    """What is prepaid is not spent again; all else is of the budget behind it.

    For `FleetClient` and its like, which count a question whenever they send it:

        def caption(self, pictures):
            self._prepaid.prepay(len(pictures))
            return read(self._client.ask(question))  # made with budget=self._prepaid

    Args:
        budget: of the campaign.
    """

    def __init__(self, budget: QueryBudget) -> None:
        super().__init__(budget.limit)
        self._budget, self._prepaid = budget, 0

    def prepay(self, count: int) -> None:
        """So many queries, which are sent next, are spent already. What was left of an earlier prepayment is void."""
        self._prepaid = count

    @property
    def spent(self) -> int:
        """As of the budget behind it."""
        return self._budget.spent

    @property
    def left(self) -> int:
        """As of the budget behind it."""
        return self._budget.left

    def spend(self, count: int) -> None:
        """Count queries that are not prepaid.

        Raises:
            BudgetExhausted: they are more than are left; none of them counts.
        """
        covered = min(count, self._prepaid)
        self._budget.spend(count - covered)
        self._prepaid -= covered

    def give_back(self, count: int) -> None:
        """Take back the count of queries that the model has not seen."""
        self._budget.give_back(count)
