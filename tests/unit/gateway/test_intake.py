"""How many requests the gateway sends on to a service that has said that it is full."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from gateway import intake as module
from gateway.intake import Intake
from shared.http.context import new_context
from shared.http.errors import problem_response
from shared.http.express import Asked
from shared.problems import Problem, ReducedCapacity, ServiceUnavailable


class Clock:
    """Stands still unless told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def asked(name: str = "tiny", version: str | None = None) -> Asked:
    return Asked({}, new_context(), {}, name, version)


def answers(intake: Intake, problem: Problem, request: Asked) -> None:
    """The service answers with a problem."""
    response = problem_response(problem, path="/v2/models/tiny/infer")
    intake.full(request, headers=response.raw_headers, body=bytes(response.body))
    intake.ended(request)


FULL = ReducedCapacity("32 requests wait for this model already.", retry_after_s=4)


def let_in(intake: Intake, count: int, request: Asked | None = None) -> list[Asked]:
    """Those of so many requests that are let in."""
    requests = [replace(request or asked()) for _ in range(count)]
    return [request for request in requests if intake.refusal(request) is None]


def test_everybody_is_let_in_while_nobody_was_refused(clock: Clock) -> None:
    assert len(let_in(Intake(), 1000)) == 1000


def test_no_more_than_were_there_when_the_service_was_full(clock: Clock) -> None:
    intake = Intake()
    *others, last = let_in(intake, 33)
    for request in others[:20]:
        intake.ended(request)  # answered before it is known that the last one was too much
    answers(intake, FULL, last)
    assert len(let_in(intake, 100)) == 20
    refusal = intake.refusal(asked())
    assert refusal is not None
    assert (refusal.detail, refusal.headers["Retry-After"]) == (FULL.detail, "4")
    intake.ended(others[-1])
    assert len(let_in(intake, 5)) == 1, "a place became free"


def test_more_is_tried_after_a_while_and_then_twice_as_much(clock: Clock) -> None:
    intake = Intake()
    answers(intake, FULL, let_in(intake, 11)[-1])
    grown = []
    for _ in range(4):
        clock.now += 1.0
        grown.append(let_in(intake, 100))
    assert [len(requests) for requests in grown] == [1, 2, 4, 8]
    answers(intake, FULL, grown[-1][-1])
    clock.now += 1.0
    assert len(let_in(intake, 100)) == 1, "the next refusal makes it careful again"


def test_a_limit_that_nobody_reaches_is_forgotten(clock: Clock) -> None:
    intake = Intake()
    first, second = let_in(intake, 2)
    answers(intake, FULL, second)
    intake.ended(first)
    for _ in range(13):
        clock.now += 1.0
        intake.ended(let_in(intake, 1)[0])
    assert len(let_in(intake, 5000)) == 5000


def test_models_and_versions_do_not_share_a_limit(clock: Clock) -> None:
    intake = Intake()
    answers(intake, FULL, let_in(intake, 2)[-1])
    assert intake.refusal(asked()) is not None
    assert intake.refusal(asked(version="1.0.0")) is None
    assert intake.refusal(asked("other")) is None


@pytest.mark.parametrize(
    "problem",
    [ServiceUnavailable("The model is being unloaded."), ServiceUnavailable("Too late for 0.1 s.", retry_after_s=9)],
)
def test_other_reasons_say_nothing_of_the_next_request(clock: Clock, problem: Problem) -> None:
    intake = Intake()
    answers(intake, problem, let_in(intake, 3)[-1])
    assert len(let_in(intake, 9)) == 9


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"no JSON", orjson.dumps({"type": FULL.registered_type})])
def test_what_cannot_be_understood_counts_as_not_said(clock: Clock, body: bytes) -> None:
    intake = Intake()
    last = let_in(intake, 3)[-1]
    intake.full(last, headers=[(b"Retry-After", b"soon")], body=body)
    assert len(let_in(intake, 9)) == 9
