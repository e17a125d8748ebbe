"""The readers and the tap themselves: what they take for well framed, and what they do not."""

from __future__ import annotations

import pytest

from tests.hostile import messages
from tests.hostile.client import BrokenAnswer, Caller
from tests.hostile.framing import FramingError, H11Reader, LlhttpReader, Request, StrictReader
from tests.hostile.scripted_answers import SCRIPTS
from tests.hostile.scripts import PREFIX, WELL, scripted
from tests.hostile.tap import Fault, tapped

_TWO = messages.request("POST", "/one", b"body") + messages.head("GET", "/two", [])

MISREADINGS = {
    "a body whose length was dropped": messages.head("POST", "/one", []) + messages.SMUGGLED,
    "two lengths": messages.head("POST", "/one", [b"Content-Length: 4", b"Content-Length: 4"]) + b"body",
    "length and coding": messages.head("POST", "/one", [b"Content-Length: 4", b"Transfer-Encoding: chunked"])
    + messages.chunked(b"body"),
    "no host": messages.head("POST", "/one", [b"Content-Length: 0"], host=None),
    "two hosts": messages.head("POST", "/one", [b"Host: b", b"Content-Length: 0"]),
    "bare LF": messages.head("POST", "/one", [b"X-A: a\nX-B: b", b"Content-Length: 0"]),
    "folded": messages.head("POST", "/one", [b"X-A: a\r\n b", b"Content-Length: 0"]),
    "an offer": messages.head("GET", "/one", [b"Upgrade: h2c", b"Connection: Upgrade"]),
    "JSON in the place of a request": messages.head("POST", "/one", [b"Content-Length: 0"]) + b'{"inputs": []}\r\n\r\n',
    "a request before the answer to the one before it": _TWO,
    "half a request before the answer to the one before it": _TWO[:-10],
    "no HTTP": b"\x16\x03\x01\r\n\r\n",
}


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_both_readers_read_the_same_requests(piece: int) -> None:
    for reader in (H11Reader(), LlhttpReader()):
        for start in range(0, len(_TWO), piece):
            reader.feed(_TWO[start : start + piece])
        assert [(one.method, one.target, one.body) for one in reader.requests] == [
            ("POST", "/one", b"body"),
            ("GET", "/two", b""),
        ]


@pytest.mark.parametrize("name", MISREADINGS)
def test_what_can_be_read_in_two_ways_is_a_fault(name: str) -> None:
    seen: list[Request] = []
    with pytest.raises(FramingError):
        StrictReader(seen.append).feed(MISREADINGS[name])


def test_half_a_request_is_unfinished() -> None:
    reader = StrictReader(lambda _: None)
    whole = messages.request("POST", "/one", b"a body of some length")
    for cut in (10, len(whole) - 5):
        reader.feed(whole[:cut])
        assert reader.unfinished
        reader.feed(whole[cut:])
        assert not reader.unfinished


def test_the_tap_copies_and_notes() -> None:
    with scripted(SCRIPTS) as service, tapped(service.port) as tap, Caller(tap.port) as caller:
        caller.send(messages.head("GET", f"{WELL}?mine", []))
        answer = caller.answer()
        (request,) = tap.since(0)
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"mine")
    assert isinstance(request, Request)
    assert request.target == f"{WELL}?mine"


def test_the_tap_notes_a_smuggled_request() -> None:
    with scripted(SCRIPTS) as service, tapped(service.port) as tap, Caller(tap.port) as caller:
        caller.send(messages.head("POST", WELL, []) + messages.SMUGGLED)
        caller.answer()
        caller.answer()
        (fault,) = tap.since(0)
    assert isinstance(fault, Fault)


def test_a_caller_tells_a_broken_answer_from_none() -> None:
    with scripted(SCRIPTS) as service:
        with Caller(service.port) as caller:
            caller.send(messages.head("GET", f"{PREFIX}closes", []))
            assert caller.answer() is None
        for name in ("too-short", "garbage", "half-a-head", "no-last-chunk"):
            with Caller(service.port) as caller:
                caller.send(messages.head("GET", f"{PREFIX}{name}", []))
                with pytest.raises(BrokenAnswer):
                    caller.answer()


def test_a_caller_sees_answers_that_nobody_asked_for() -> None:
    with scripted(SCRIPTS) as service, Caller(service.port) as caller:
        caller.send(messages.head("GET", f"{PREFIX}two-answers", []))
        answers = [caller.answer(), caller.answer()]
    assert [one.body for one in answers if one] == [b"ok", b"poison"]
