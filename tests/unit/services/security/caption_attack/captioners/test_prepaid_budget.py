"""A budget between a campaign and a transport that spends each try."""

from __future__ import annotations

import httpx
import pytest

from services.security.caption_attack.captioners.prepaid_budget import PrepaidBudget
from shared.fleet.budget import BudgetExhausted, QueryBudget
from shared.fleet.questions import FleetAnswer, Pause, Question, RetryPolicy, advance, converse


def test_the_first_try_is_not_spent_twice_and_the_next_is() -> None:
    budget = QueryBudget(10)
    prepaid = PrepaidBudget(budget)
    budget.spend(4)
    prepaid.prepay(4)
    question = Question(path="/", queries=4)
    conversation = converse(question, "perception", policy=RetryPolicy(), budget=prepaid)
    advance(conversation)
    assert budget.spent == prepaid.spent == 4
    assert isinstance(advance(conversation, httpx.ReadTimeout("late")), Pause)
    advance(conversation)
    assert budget.spent == 8
    assert prepaid.left == 2
    assert isinstance(advance(conversation, httpx.Response(200, content=b"x")), FleetAnswer)
    assert budget.spent == 8


def test_what_a_busy_service_has_not_seen_is_given_back() -> None:
    budget = QueryBudget(4)
    prepaid = PrepaidBudget(budget)
    budget.spend(4)
    prepaid.prepay(4)
    conversation = converse(Question(path="/", queries=4), "perception", policy=RetryPolicy(), budget=prepaid)
    advance(conversation)
    advance(conversation, httpx.Response(503))
    assert budget.spent == 0
    advance(conversation)
    assert budget.spent == 4


def test_a_further_try_beyond_the_budget_is_refused() -> None:
    budget = QueryBudget(5)
    prepaid = PrepaidBudget(budget)
    budget.spend(3)
    prepaid.prepay(3)
    prepaid.spend(3)
    with pytest.raises(BudgetExhausted):
        prepaid.spend(3)
    assert budget.spent == 3
