"""When a question is asked again, what it counts, and what its answer or its problem says."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from shared.fleet.budget import BudgetExhausted, QueryBudget
from shared.fleet.questions import FleetAnswer, Outcome, Pause, Question, RetryPolicy, Send, converse
from shared.problems import BadGateway, GatewayTimeout, Problem, ServiceUnavailable, UnprocessableContent

NAMED = {"Facet-Model": f'signs;version="1.0.0";sha256="{"a" * 64}"'}
GOOD = httpx.Response(200, content=b"yes", headers=NAMED)
BUSY = httpx.Response(503, json={"detail": "full"}, headers={"Retry-After": "2"})
LIMITED = httpx.Response(429, json={"detail": "slower"})
DOWN = httpx.ConnectError("refused")
BROKEN = httpx.RemoteProtocolError("cut")
LATE = httpx.ReadTimeout("late")
POLICY = RetryPolicy(tries=3, first_pause_s=0.5, longest_pause_s=5)


def play(
    outcomes: Sequence[Outcome], *, budget: QueryBudget | None = None, policy: RetryPolicy = POLICY, **question: Any
) -> tuple[FleetAnswer | Problem, list[float], int]:
    """What becomes of a question whose tries end so: its answer or problem, the pauses, the number of tries."""
    conversation = converse(Question(path="/x", **question), "perception", policy=policy, budget=budget)
    pauses: list[float] = []
    tries, outcome = 0, None
    try:
        while True:
            step = conversation.send(outcome)
            outcome = None
            if isinstance(step, Pause):
                pauses.append(step.seconds)
            else:
                assert isinstance(step, Send)
                outcome = outcomes[tries]
                tries += 1
    except StopIteration as end:
        answer: FleetAnswer = end.value
        return answer, pauses, tries
    except Problem as problem:
        return problem, pauses, tries


def test_an_answer_names_its_model() -> None:
    answer, pauses, tries = play([GOOD])
    assert isinstance(answer, FleetAnswer)
    assert (answer.content, answer.domain, pauses, tries) == (b"yes", "perception", [], 1)
    assert answer.model is not None
    assert (answer.model.name, answer.model.version, answer.model.weights_sha256) == ("signs", "1.0.0", "a" * 64)
    plain, *_ = play([httpx.Response(200, content=b"")])
    assert isinstance(plain, FleetAnswer)
    assert plain.model is None


@pytest.mark.parametrize(
    ("outcomes", "pauses"),
    [
        ([BUSY, GOOD], [2.0]),
        ([LIMITED, GOOD], [0.5]),
        ([DOWN, DOWN, GOOD], [0.5, 1.0]),
        ([BROKEN, GOOD], [0.5]),
        ([httpx.Response(503, json={"detail": "x"}, headers={"Retry-After": "900"}), GOOD], [5.0]),
    ],
)
def test_what_passes_is_asked_again(outcomes: list[Outcome], pauses: list[float]) -> None:
    answer, paused, tries = play(outcomes)
    assert isinstance(answer, FleetAnswer)
    assert (paused, tries) == (pauses, len(outcomes))


@pytest.mark.parametrize("outcome", [BROKEN, LATE])
def test_what_may_have_been_done_is_not_done_twice(outcome: Outcome) -> None:
    problem, _, tries = play([outcome, GOOD], repeatable=False)
    assert isinstance(problem, Problem)
    assert tries == 1
    for certain in (BUSY, DOWN):
        assert isinstance(play([certain, GOOD], repeatable=False)[0], FleetAnswer)


@pytest.mark.parametrize(
    ("outcomes", "kind", "tries"),
    [
        ([DOWN] * 3, ServiceUnavailable, 3),
        ([BUSY] * 3, ServiceUnavailable, 3),
        ([LATE] * 3, GatewayTimeout, 3),
        ([BROKEN] * 3, ServiceUnavailable, 3),
        ([httpx.Response(422, json={"detail": "no", "errors": [{"pointer": "/body/file/0", "detail": "no"}]})],
         UnprocessableContent, 1),
        ([httpx.Response(401, json={"detail": "who"})], BadGateway, 1),
        ([httpx.Response(500, content=b"<html>")], BadGateway, 1),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_the_services_own_problem(
    outcomes: list[Outcome], kind: type[Problem], tries: int
) -> None:
    problem, _, asked = play(outcomes)
    assert type(problem) is kind
    assert asked == tries
    if kind is UnprocessableContent:
        assert isinstance(problem, Problem)
        assert problem.errors[0].pointer == "/body/file/0"


def test_no_pause_goes_beyond_the_deadline() -> None:
    problem, pauses, tries = play([BUSY, GOOD], deadline_s=1.0)
    assert isinstance(problem, ServiceUnavailable)
    assert problem.headers["Retry-After"] == "2"
    assert (pauses, tries) == ([], 1)


def test_a_try_ends_before_the_deadline_where_the_policy_says_so() -> None:
    for deadline_s, longest_try_s, expected in ((100.0, 7.0, 7.0), (5.0, 60.0, 5.0)):
        question = Question(path="/x", deadline_s=deadline_s)
        step = next(converse(question, "perception", policy=RetryPolicy(longest_try_s=longest_try_s)))
        assert isinstance(step, Send)
        assert step.timeout_s == pytest.approx(expected, abs=0.1)


def test_a_budget_counts_what_the_model_may_have_seen() -> None:
    budget = QueryBudget(10)
    play([BUSY, DOWN, GOOD], budget=budget, queries=4)
    assert (budget.spent, budget.left) == (4, 6)
    play([LATE, GOOD], budget=budget, queries=3)
    assert (budget.spent, budget.left) == (10, 0), "a try that was not answered may have been seen"
    problem, _, tries = play([GOOD], budget=budget)
    assert isinstance(problem, BudgetExhausted)
    assert (problem.status, tries) == (409, 0)
    assert "10 queries" in problem.detail


def test_a_retry_that_the_budget_does_not_allow_is_not_made() -> None:
    budget = QueryBudget(5)
    problem, _, tries = play([LATE, GOOD], budget=budget, queries=4)
    assert isinstance(problem, BudgetExhausted)
    assert (tries, budget.spent) == (1, 4)


def test_a_budget_goes_on_where_an_earlier_attempt_was() -> None:
    budget = QueryBudget(5, spent=4)
    budget.spend(1)
    with pytest.raises(BudgetExhausted):
        budget.spend(1)
    with pytest.raises(ValueError, match="not negative"):
        QueryBudget(-1)


def test_threads_together_do_not_overspend() -> None:
    budget, refused = QueryBudget(1000), threading.Semaphore(0)

    def spend() -> None:
        for _ in range(200):
            try:
                budget.spend(1)
            except BudgetExhausted:
                refused.release()

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.spent == 1000
    assert sum(refused.acquire(blocking=False) for _ in range(601)) == 600
