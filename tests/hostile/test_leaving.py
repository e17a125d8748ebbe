"""Callers who go away, in each state that a request can be in."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.hostile import messages
from tests.hostile.client import Caller
from tests.hostile.fleet import Fleet
from tests.hostile.scripts import PREFIX

_CALLERS = 10
_SETTLING_S = 8.0


def _after_the_first_bytes(fleet: Fleet, caller: Caller) -> None:
    nonce = fleet.nonce()
    fields = [*fleet.fields(nonce), messages.JSON_TYPE]
    caller.send(messages.request("POST", messages.FILL, messages.fill_json(nonce, 1 << 20), fields))
    assert caller.receive_raw()


def _after_continue(fleet: Fleet, caller: Caller) -> None:
    fields = [*fleet.fields(fleet.nonce()), messages.JSON_TYPE, b"Content-Length: 90", b"Expect: 100-continue"]
    caller.send(messages.head("POST", messages.INFER, fields))
    assert caller.receive_raw()


def _sends(make: Callable[[Fleet], bytes]) -> Callable[[Fleet, Caller], None]:
    def prepare(fleet: Fleet, caller: Caller) -> None:
        caller.send(make(fleet))

    return prepare


STATES: dict[str, Callable[[Fleet, Caller], None]] = {
    "connected": lambda fleet, caller: None,
    "half a request line": _sends(lambda fleet: b"POST /v2/mod"),
    "half a head": _sends(lambda fleet: fleet.infer(fleet.nonce())[:80]),
    "a head": _sends(lambda fleet: fleet.infer(fleet.nonce()).partition(b"{")[0]),
    "half a body": _sends(lambda fleet: fleet.infer(fleet.nonce())[:-30]),
    "half a form": _sends(lambda fleet: fleet.picture(fleet.nonce(), 60)[:-60]),
    "half a large body": _sends(lambda fleet: messages.request(
        "POST", messages.INFER, bytes(4 << 20), [*fleet.fields(fleet.nonce()), messages.RAW_TYPE])[:3 << 20]),
    "half a chunk": _sends(lambda fleet: messages.head(
        "POST", messages.INFER, [*fleet.fields(fleet.nonce()), messages.JSON_TYPE, b"Transfer-Encoding: chunked"]
    ) + b"50\r\nhalf"),
    "half a keyed body": _sends(lambda fleet: fleet.infer(
        fleet.nonce(), fields=[b"Idempotency-Key: " + fleet.nonce().encode()])[:-30]),
    "asked": _sends(lambda fleet: fleet.infer(fleet.nonce())),
    "asked for a picture's classes": _sends(lambda fleet: fleet.picture(fleet.nonce(), 60)),
    "asked with a key": _sends(lambda fleet: fleet.infer(
        fleet.nonce(), fields=[b"Idempotency-Key: " + fleet.nonce().encode()])),
    "asked many times": _sends(lambda fleet: b"".join(fleet.infer(fleet.nonce()) for _ in range(50))),
    "asked a service that says nothing": _sends(lambda fleet: messages.head(
        "GET", f"{PREFIX}silent", fleet.fields(fleet.nonce()))),
    "in the middle of an answer": _after_the_first_bytes,
    "told to go on": _after_continue,
}  # fmt: skip


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("name", STATES)
def test_who_leaves_leaves_nothing_behind(open_fleet: Fleet, name: str, *, reset: bool) -> None:
    callers = [open_fleet.connect() for _ in range(_CALLERS)]
    for caller in callers:
        STATES[name](open_fleet, caller)
    for caller in callers:
        caller.reset() if reset else caller.close()
    open_fleet.require_own_answers()
    deadline = time.monotonic() + _SETTLING_S
    while open_fleet.connections(callers):
        assert time.monotonic() < deadline, "connections are left"
        time.sleep(0.02)
