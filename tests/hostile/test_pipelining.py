"""Requests before the answers to earlier ones, and callers who do not read (RFC 9112, section 9.3.2)."""

from __future__ import annotations

import time

import pytest

from tests.hostile import messages
from tests.hostile.client import BrokenAnswer, Caller
from tests.hostile.fleet import SEND_TIMEOUT_S, Fleet, require_in_time
from tests.support.processes import until

_MANY = 200
_ANSWER_VALUES = 1 << 17
_HELD_LIMIT_BYTES = 64 << 20
"""More than this must not be held for one connection that asks for 100 MiB and reads nothing."""
_KEPT_LIMIT_BYTES = 16 << 20
"""More than this must not stay behind 48 MiB of answers that nobody read."""


def _fill(fleet: Fleet, nonce: str, values: int) -> bytes:
    fields = [*fleet.fields(nonce), messages.JSON_TYPE]
    return messages.request("POST", messages.FILL, messages.fill_json(nonce, values), fields)


def _read_all(caller: Caller, nonces: list[str]) -> int:
    """Answers up to the end, each of which must be to the request in its place."""
    read = 0
    try:
        while read < len(nonces) and (answer := caller.answer()) is not None:
            assert answer.status == 200
            assert nonces[read].encode() in answer.body[:1000]
            read += 1
    except BrokenAnswer:  # closed in the middle of one
        pass
    return read


def test_requests_that_come_early_are_answered_in_their_order(fleet: Fleet) -> None:
    nonces = [fleet.nonce() for _ in range(20)]
    data = [fleet.infer(nonce) if place % 2 else fleet.picture(nonce, 120) for place, nonce in enumerate(nonces)]
    outcome = fleet.exchange(b"".join(data))
    assert outcome.statuses == [200] * len(nonces)
    assert outcome.followed
    for nonce, answer in list(zip(nonces, outcome.answers, strict=True))[1::2]:
        assert nonce.encode() in answer.body


def test_a_request_in_pieces_of_one_byte(fleet: Fleet) -> None:
    nonce, sentinel = fleet.nonce(), fleet.nonce()
    with fleet.connect() as caller:
        for byte in fleet.infer(nonce) + fleet.infer(sentinel):
            caller.send(bytes([byte]))
        first, second = caller.answer(), caller.answer()
    assert first is not None
    assert second is not None
    assert nonce.encode() in first.body
    assert sentinel.encode() in second.body


@pytest.mark.parametrize("cut", [1, 10, -1, -30])
def test_a_request_that_begins_with_the_body_before_it(fleet: Fleet, cut: int) -> None:
    first, second, sentinel = fleet.nonce(), fleet.nonce(), fleet.nonce()
    data, more = fleet.infer(first) + fleet.infer(second)[:cut], fleet.infer(second)[cut:]
    with fleet.connect() as caller:
        caller.send(data)
        answer = caller.answer()
        caller.send(more + fleet.infer(sentinel))
        rest = [caller.answer(), caller.answer()]
    assert answer is not None
    assert first.encode() in answer.body
    assert [one is not None and nonce.encode() in one.body for one, nonce in zip(rest, (second, sentinel), strict=True)]


def test_what_is_over_the_length_is_the_next_request_or_refused(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(fleet.infer(nonce) + b"more than was said\r\n\r\n")
    assert outcome.statuses in ([200, 400], [200])
    assert not outcome.followed
    assert len(fleet.seen(nonce)) == 1


def test_a_request_behind_a_refused_one_is_not_executed(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    broken = messages.head("POST", messages.INFER, [b"Content-Length: nine"])
    outcome = fleet.exchange(broken + fleet.infer(nonce))
    assert (outcome.statuses, outcome.followed) == ([400], False)
    assert fleet.seen(nonce) == []


def test_a_request_behind_close_is_not_executed(fleet: Fleet) -> None:
    first, second = fleet.nonce(), fleet.nonce()
    outcome = fleet.exchange(fleet.infer(first, fields=[b"Connection: close"]) + fleet.infer(second))
    assert (outcome.statuses, outcome.followed) == ([200], False)
    assert fleet.seen(second) == []


@pytest.mark.parametrize("key", [False, True], ids=["plain", "keyed"])
def test_two_hundred_requests_and_no_answer_read(fleet: Fleet, *, key: bool) -> None:
    nonces = [fleet.nonce() for _ in range(_MANY)]
    data = [_fill(fleet, nonce, _ANSWER_VALUES) for nonce in nonces]
    if key:
        data = [
            one.replace(b"\r\n", b"\r\nIdempotency-Key: %b\r\n" % nonce.encode(), 1)
            for one, nonce in zip(data, nonces, strict=True)
        ]
    before, most = fleet.gateway.resident_bytes(), 0
    with fleet.connect() as caller:
        caller.send_some(b"".join(data), seconds=0.5)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            most = max(most, fleet.gateway.resident_bytes() - before)
            require_in_time(fleet.live_s, limit_s=1)
        read = _read_all(caller, nonces)
    assert most < _HELD_LIMIT_BYTES
    assert 0 < read <= _MANY


def test_many_small_requests_and_no_answer_read(fleet: Fleet) -> None:
    """A pipeline of cheap requests must not be worked through without end for somebody who reads nothing."""
    data = messages.head("GET", "/v2", fleet.credentials()) * 100_000
    with fleet.connect() as caller:
        sent = caller.send_some(data, seconds=0.5)
        require_in_time(fleet.live_s, limit_s=1)
    assert sent < len(data)


@pytest.mark.parametrize("readers", [1, 6])
def test_a_large_answer_that_nobody_reads(fleet: Fleet, readers: int) -> None:
    values = (48 << 20) // 4 // readers
    before = fleet.gateway.resident_bytes()
    callers = [fleet.connect(patience_s=4 * SEND_TIMEOUT_S) for _ in range(readers)]
    for caller in callers:
        caller.send(_fill(fleet, fleet.nonce(), values))
    until(lambda: fleet.connections(callers) == readers)
    deadline = time.monotonic() + SEND_TIMEOUT_S + 6
    while fleet.connections(callers):
        assert time.monotonic() < deadline, "the connection is held for somebody who does not read"
        time.sleep(0.1)
    for caller in callers:
        with pytest.raises(BrokenAnswer):
            caller.answer()
        caller.close()
    fleet.require_memory(before, growth=_KEPT_LIMIT_BYTES)


def test_a_slow_reader_gets_all_of_a_large_answer(fleet: Fleet) -> None:
    nonce, values = fleet.nonce(), 1 << 20
    size = 0
    with fleet.connect() as caller:
        caller.send(_fill(fleet, nonce, values))
        while size < 4 * values:
            size += len(caller.receive_raw())
            time.sleep(0.05)
    assert size > 4 * values
