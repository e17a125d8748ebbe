"""Services that break HTTP: their own callers get a problem, and nobody gets anything of theirs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.hostile import messages
from tests.hostile.client import Answer, BrokenAnswer
from tests.hostile.fleet import Fleet
from tests.hostile.scripted_answers import CUT_OFF, POISONED, REFUSED, SERVED
from tests.hostile.scripts import PREFIX, WELL

_METHODS = ("GET", "POST")


def _ask(fleet: Fleet, name: str, method: str) -> bytes:
    nonce = fleet.nonce()
    if method == "GET":
        return messages.head("GET", PREFIX + name, fleet.fields(nonce))
    return messages.request("POST", PREFIX + name, b"a body", [*fleet.fields(nonce), messages.RAW_TYPE])


def _require_next_callers(fleet: Fleet) -> None:
    """Callers after it, in a row and at once, get the answers to what they asked of the same service."""
    for count in (1, 1, 6):
        callers = [(fleet.connect(), fleet.nonce()) for _ in range(count)]
        for caller, nonce in callers:
            caller.send(messages.head("GET", f"{WELL}?{nonce}", fleet.fields(nonce)))
        for caller, nonce in callers:
            answer = caller.answer()
            caller.close()
            assert answer is not None
            assert (answer.status, answer.body) == (200, nonce.encode())
            assert "x-poison" not in answer.fields


@pytest.fixture(autouse=True)
def next_callers(open_fleet: Fleet) -> Iterator[None]:
    yield
    _require_next_callers(open_fleet)


def _answer(fleet: Fleet, name: str, method: str) -> Answer | None:
    with fleet.connect() as caller:
        caller.send(_ask(fleet, name, method))
        return caller.answer()


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_answer_is_a_bad_gateway(open_fleet: Fleet, name: str, method: str) -> None:
    answer = _answer(open_fleet, name, method)
    assert answer is not None
    assert answer.status in {502, 503}
    assert answer.fields["content-type"] == "application/problem+json"
    assert json.loads(answer.body)["status"] == answer.status
    assert "x-poison" not in answer.fields


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("name", CUT_OFF)
def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(open_fleet: Fleet, name: str, method: str) -> None:
    try:
        answer = _answer(open_fleet, name, method)
    except BrokenAnswer:
        return
    assert answer is None or answer.status == 502


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("name", POISONED)
def test_what_is_more_than_the_answer_reaches_nobody(open_fleet: Fleet, name: str, method: str) -> None:
    answer = _answer(open_fleet, name, method)
    if name.endswith("a-moment-later"):
        time.sleep(0.15)  # on a connection in use, nobody could tell it from the answer to the next request
    assert answer is not None
    assert answer.status in {200, 204, 304, 502}
    assert answer.status == 502 or answer.body in {b"ok", b""}
    assert b"poison" not in answer.body
    assert "x-poison" not in answer.fields


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("name", SERVED)
def test_what_is_odd_and_right_is_passed_on(open_fleet: Fleet, name: str, method: str) -> None:
    answer = _answer(open_fleet, name, method)
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"ok")


def test_a_service_that_says_nothing_is_a_timeout(open_fleet: Fleet) -> None:
    answer = _answer(open_fleet, "silent", "POST")
    assert answer is not None
    assert answer.status == 504


def test_many_who_wait_for_a_service_that_says_nothing_are_in_nobodys_way(open_fleet: Fleet) -> None:
    callers = [open_fleet.connect() for _ in range(200)]
    for caller in callers:
        caller.send(_ask(open_fleet, "silent", "POST"))
    open_fleet.require_own_answers()
    _require_next_callers(open_fleet)
    for caller in callers:
        answer = caller.answer()
        caller.close()
        assert answer is not None
        assert answer.status in {503, 504}
