"""Heads that are too long, or never end: 431, at a bounded cost (RFC 6585, section 5)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hostile import messages
from tests.hostile.client import Caller
from tests.hostile.fleet import BODY_TIMEOUT_S, Fleet, require_in_time

_LIMIT_BYTES = 64 << 10
_LIMIT_FIELDS = 100
_MORE = 8 << 20
"""Bytes after which an endless head has been taken for long enough."""

_LIVE_LIMIT_S = 1.0


def _get(fleet: Fleet, *fields: bytes, target: str = "/health/live") -> bytes:
    return messages.head("GET", target, [*fleet.credentials(), *fields])


@pytest.mark.parametrize("size", [20_000, 60_000])
def test_a_head_below_the_limit_is_served(fleet: Fleet, size: int) -> None:
    outcome = fleet.exchange(_get(fleet, b"X-Long: " + b"a" * size))
    assert (outcome.statuses, outcome.followed) == ([200], True)


def test_ninety_fields_are_served(fleet: Fleet) -> None:
    outcome = fleet.exchange(_get(fleet, *(b"X-%d: a" % number for number in range(90))))
    assert (outcome.statuses, outcome.followed) == ([200], True)


TOO_LONG: dict[str, Callable[[Fleet], bytes]] = {
    "a value": lambda fleet: _get(fleet, b"X-Long: " + b"a" * (_LIMIT_BYTES + 2000)),
    "a value, twice the limit": lambda fleet: _get(fleet, b"X-Long: " + b"a" * (2 * _LIMIT_BYTES)),
    "a name": lambda fleet: _get(fleet, b"X-" + b"a" * (_LIMIT_BYTES + 2000) + b": a"),
    "some values": lambda fleet: _get(fleet, *(b"X-%d: " % number + b"a" * 9000 for number in range(8))),
    "fields": lambda fleet: _get(fleet, *(b"X-%d: a" % number for number in range(_LIMIT_FIELDS + 10))),
    "many fields": lambda fleet: _get(fleet, *(b"X-%d: a" % number for number in range(5000))),
    "equal fields": lambda fleet: _get(fleet, *[b"X-A: a"] * 500),
    "cookies": lambda fleet: _get(fleet, *[b"Cookie: a=b"] * 120),
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_a_head_over_the_limit_is_refused_with_431(fleet: Fleet, name: str) -> None:
    outcome = fleet.exchange(TOO_LONG[name](fleet), follow=False)
    assert (outcome.statuses, outcome.followed) == ([431], False)


def test_an_image_behind_too_long_a_head_is_refused_as_well(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    for line in (b"X-Long: " + b"a" * 70_000, b"\r\n".join(b"X-%d: a" % number for number in range(120))):
        answer = fleet.first_answer(fleet.picture(nonce, 60, fields=[line]))
        assert answer.status == 431
    assert fleet.seen(nonce) == []


@pytest.mark.parametrize("size", [66_000, 200_000])
def test_a_target_over_the_limit_is_refused(fleet: Fleet, size: int) -> None:
    answer = fleet.first_answer(_get(fleet, target="/v2?" + "a" * size))
    assert answer.status in {400, 414, 431}


ENDLESS = {
    "a value": (b"X-Big: ", b"a" * 1000),
    "a name": (b"X-", b"a" * 1000),
    "small fields": (b"", b"".join(b"a%02d: b\r\n" % number for number in range(100))),
    "equal fields": (b"", b"a: b\r\n" * 150),
    "folds": (b"X-Big: a", b"\r\n " * 300),
    "white space": (b"X-Big:", b" " * 1000),
    "cookies": (b"", b"Cookie: a=b\r\n" * 80),
    "chosen names": (b"", b"".join(b"%b: b\r\n" % bytes([97 + one % 26] * (1 + one // 26)) for one in range(78))),
}


def _pour(fleet: Fleet, caller: Caller, beginning: bytes, piece: bytes) -> int:
    """Send without end until nobody takes more, while others are answered; bytes that were taken."""
    block = piece * (65_536 // len(piece) + 1)
    sent = caller.send_some(beginning, seconds=2)
    while sent < _MORE:
        taken = caller.send_some(block, seconds=1)
        sent += taken
        if taken < len(block):
            break
        require_in_time(fleet.live_s, limit_s=_LIVE_LIMIT_S)
    return sent


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_head_costs_little(open_fleet: Fleet, name: str) -> None:
    beginning, piece = ENDLESS[name]
    with open_fleet.connect() as caller:
        sent = _pour(open_fleet, caller, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + beginning, piece)
        assert sent < _MORE
        assert caller.closed_within(5)


@pytest.mark.parametrize("beginning", [b"GET /", b"", b"POST /v2?", b"GET /health/live HTTP/1.", b"\r\n"])
def test_an_endless_request_line_costs_little(open_fleet: Fleet, beginning: bytes) -> None:
    with open_fleet.connect() as caller:
        piece = b"\r\n" * 500 if beginning == b"\r\n" else b"a" * 1000
        sent = _pour(open_fleet, caller, beginning, piece)
        assert sent < _MORE
        assert caller.closed_within(5)


@pytest.mark.parametrize("what", ["extensions", "size", "trailer value", "trailers"])
def test_an_endless_part_of_a_chunked_body_costs_little(fleet: Fleet, what: str) -> None:
    nonce = fleet.nonce()
    fields = [*fleet.credentials(), messages.JSON_TYPE, b"Transfer-Encoding: chunked"]
    body = messages.infer_json(nonce, 1.0)
    chunk = b"%x\r\n%b\r\n" % (len(body), body)
    beginning, piece = {
        "extensions": (b"5;a=", b"b" * 1000),
        "size": (b"", b"0" * 1000),
        "trailer value": (chunk + b"0\r\nX-Big: ", b"a" * 1000),
        "trailers": (chunk + b"0\r\n", b"a: b\r\n" * 150),
    }[what]
    with fleet.connect() as caller:
        _pour(fleet, caller, messages.head("POST", messages.INFER, fields) + beginning, piece)
        assert caller.closed_within(BODY_TIMEOUT_S + 4)  # whatever comes, nothing of the body does
    assert fleet.seen(nonce) == []


def test_many_endless_heads_at_once(open_fleet: Fleet) -> None:
    callers = [open_fleet.connect() for _ in range(60)]
    block = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Big: " + b"a" * 60_000
    for caller in callers:
        caller.send_some(block, seconds=1)
    for _ in range(4):
        for caller in callers:
            caller.send_some(b"a" * 20_000, seconds=0.02)
        require_in_time(open_fleet.live_s, limit_s=_LIVE_LIMIT_S)
    for caller in callers:
        assert caller.closed_within(8)
        caller.close()
