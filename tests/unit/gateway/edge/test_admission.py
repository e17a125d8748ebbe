"""How many requests the gateway sends on to a service that has said that it is full."""

from __future__ import annotations

import orjson
import pytest

from gateway.upstream import admission as module
from gateway.upstream.admission import Admission
from shared.http.errors import problem_response
from shared.problems import Problem, ReducedCapacity, ServiceUnavailable

PATH = "/v2/models/tiny/infer"
FULL = ReducedCapacity("32 requests wait for this model already.", retry_after_s=4)


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


def enter(admission: Admission, count: int, path: str = PATH) -> list[int]:
    """So many requests come; for each that is let in, how many were before it."""
    entered = []
    for _ in range(count):
        try:
            entered.append(admission.enter(path))
        except ReducedCapacity:
            with pytest.raises(ReducedCapacity):
                admission.check(path)
    return entered


def answer(admission: Admission, problem: Problem, before: int, path: str = PATH) -> None:
    """The service answers with a problem to a request, which is over."""
    response = problem_response(problem, path=path)
    admission.learn(path, before=before, headers=response.raw_headers, body=bytes(response.body))
    admission.leave(path)


def test_everybody_is_let_in_while_nobody_was_refused(clock: Clock) -> None:
    admission = Admission()
    assert enter(admission, 1000) == list(range(1000))
    admission.check(PATH)


def test_no_more_than_were_there_when_the_service_was_full(clock: Clock) -> None:
    admission = Admission()
    *others, last = enter(admission, 33)
    for _ in others[:20]:
        admission.leave(PATH)  # answered before it is known that the last one was too much
    answer(admission, FULL, last)
    assert len(enter(admission, 100)) == 20
    with pytest.raises(ReducedCapacity) as caught:
        admission.check(PATH)
    assert (caught.value.detail, caught.value.headers["Retry-After"]) == (FULL.detail, "4")
    admission.leave(PATH)
    assert len(enter(admission, 5)) == 1, "a place became free"


def test_a_check_takes_no_place(clock: Clock) -> None:
    admission = Admission()
    answer(admission, FULL, enter(admission, 2)[-1])
    admission.leave(PATH)
    for _ in range(50):
        admission.check(PATH)
    assert len(enter(admission, 5)) == 1


def test_more_is_tried_after_a_while_and_then_twice_as_much(clock: Clock) -> None:
    admission = Admission()
    answer(admission, FULL, enter(admission, 11)[-1])
    grown = []
    for _ in range(4):
        clock.now += 1.0
        grown.append(enter(admission, 100))
    assert [len(entered) for entered in grown] == [1, 2, 4, 8]
    answer(admission, FULL, grown[-1][-1])
    clock.now += 1.0
    assert len(enter(admission, 100)) == 1, "one to try"


def test_a_limit_that_nobody_reaches_is_forgotten(clock: Clock) -> None:
    admission = Admission()
    answer(admission, FULL, enter(admission, 2)[-1])
    admission.leave(PATH)
    for _ in range(13):
        clock.now += 1.0
        enter(admission, 1)
        admission.leave(PATH)
    assert len(enter(admission, 5000)) == 5000


def test_one_request_is_let_in_however_full_it_is(clock: Clock) -> None:
    admission = Admission()
    answer(admission, FULL, enter(admission, 1)[-1])
    assert len(enter(admission, 5)) == 1


def test_addresses_do_not_share_a_limit(clock: Clock) -> None:
    admission = Admission()
    answer(admission, FULL, enter(admission, 2)[-1])
    with pytest.raises(ReducedCapacity):
        admission.check(PATH)
    for other in ("/v2/models/tiny/versions/1.0.0/infer", "/v2/models/other/infer", "/v1/medical/ct/enhancements"):
        admission.check(other)


def test_wrong_addresses_leave_nothing_behind(clock: Clock) -> None:
    admission = Admission()
    for number in range(1000):
        path = f"/v2/models/{number}/infer"
        admission.enter(path)
        admission.leave(path)
    assert not admission._addresses


@pytest.mark.parametrize(
    "problem",
    [ServiceUnavailable("The model is being unloaded."), ServiceUnavailable("Too late for 0.1 s.", retry_after_s=9)],
)
def test_other_reasons_say_nothing_of_the_next_request(clock: Clock, problem: Problem) -> None:
    admission = Admission()
    answer(admission, problem, enter(admission, 3)[-1])
    assert len(enter(admission, 9)) == 9


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"no JSON", orjson.dumps({"type": FULL.registered_type})])
def test_what_cannot_be_understood_counts_as_not_said(clock: Clock, body: bytes) -> None:
    admission = Admission()
    last = enter(admission, 3)[-1]
    admission.learn(PATH, before=last, headers=[(b"Retry-After", b"soon")], body=body)
    admission.leave(PATH)
    assert len(enter(admission, 9)) == 9
