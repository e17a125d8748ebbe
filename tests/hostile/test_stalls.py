"""Callers who stop in the middle: 408 and the end, while all others are served."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.hostile import messages
from tests.hostile.client import Answer, BrokenAnswer, Caller
from tests.hostile.conftest import Backend, started
from tests.hostile.fleet import BODY_TIMEOUT_S, Fleet, require_in_time

_MANY = 600
_KEEP_ALIVE_S = 1
_MARGIN_S = 4.0
"""Seconds that a busy machine may take longer."""


def _upload(fleet: Fleet, target: str, body: bytes, *fields: bytes) -> bytes:
    own = [*fleet.fields(fleet.nonce()), *fields]
    return messages.head("POST", target, [*own, b"Content-Length: %d" % (len(body) + 1000)]) + body


def _form(fleet: Fleet, *more: bytes) -> bytes:
    return _upload(
        fleet, messages.IMAGES, messages.form(fleet.nonce(), messages.png(60))[:200], messages.FORM_TYPE, *more
    )


def _chunked(fleet: Fleet, body: bytes) -> bytes:
    fields = [*fleet.fields(fleet.nonce()), messages.JSON_TYPE, b"Transfer-Encoding: chunked"]
    return messages.head("POST", messages.INFER, fields) + body


def _raw(fleet: Fleet) -> bytes:
    body, length = messages.infer_raw(fleet.nonce(), 64)
    return _upload(fleet, messages.INFER, body, messages.RAW_TYPE, length)


UPLOADS: dict[str, Callable[[Fleet], bytes]] = {
    "a form": _form,
    "a form, keyed": lambda fleet: _form(fleet, b"Idempotency-Key: " + fleet.nonce().encode()),
    "chunks": lambda fleet: _chunked(fleet, b"100\r\nhalf"),
    "tensors": _raw,
    "JSON for the gateway": lambda fleet: _upload(fleet, "/v1/webhooks", b'{"url":', messages.JSON_TYPE),
}

STALLS: dict[str, Callable[[Fleet], bytes]] = {
    **UPLOADS,
    "nothing of a form": lambda fleet: _upload(fleet, messages.IMAGES, b"", messages.FORM_TYPE),
    "nothing of tensors": lambda fleet: _upload(fleet, messages.INFER, b"", messages.RAW_TYPE),
    "nothing of chunks": lambda fleet: _chunked(fleet, b""),
    "half a size": lambda fleet: _chunked(fleet, b"1"),
    "no last chunk": lambda fleet: _chunked(fleet, b"4\r\nhalf\r\n"),
    "half the last chunk": lambda fleet: _chunked(fleet, b"4\r\nhalf\r\n0\r\n"),
    "half a trailer": lambda fleet: _chunked(fleet, b"4\r\nhalf\r\n0\r\nX-A: "),
    "tensors, keyed": lambda fleet: _upload(
        fleet, messages.INFER, b"{", messages.JSON_TYPE, b"Idempotency-Key: " + fleet.nonce().encode()
    ),
    "JSON of the protocol": lambda fleet: _upload(fleet, messages.INFER, b'{"inputs":', messages.JSON_TYPE),
    "another service": lambda fleet: _upload(fleet, "/v1/medical/ct/enhancements", b"half", messages.RAW_TYPE),
    "after an offer": lambda fleet: _upload(
        fleet, messages.INFER, b"{", messages.JSON_TYPE, b"Upgrade: h2c", b"Connection: Upgrade"
    ),
    "more than is held in memory": lambda fleet: _upload(fleet, messages.INFER, bytes(3 << 20), messages.RAW_TYPE),
}

HEADS: dict[str, bytes] = {
    "a letter": b"G",
    "half a request line": b"GET /health/li",
    "a request line": b"GET /health/live HTTP/1.1\r\n",
    "half a field": b"GET /health/live HTTP/1.1\r\nHost: loc",
    "no end": b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n",
    "half an end": b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r",
    "empty lines": b"\r\n",
    "nothing": b"",
}


@dataclass(frozen=True)
class End:
    """How it went for a caller who stopped."""

    answer: Answer | None
    seconds: float
    """From the last byte that was sent to the end of the connection."""


def _ends(callers: Mapping[str, Caller], *, within_s: float) -> dict[str, End]:
    """Wait until all connections are closed by the other end."""
    began = time.monotonic()
    by_number = {caller.fileno(): name for name, caller in callers.items()}
    poll, ends, answers = select.poll(), {}, dict[str, Answer | None]()
    for number in by_number:
        poll.register(number, select.POLLIN)
    while by_number and (left := began + within_s - time.monotonic()) > 0:
        for number, _ in poll.poll(left * 1000):
            name = by_number[number]
            try:
                answer = callers[name].answer()
            except BrokenAnswer:
                answer = None
            if answer is not None:
                answers[name] = answer
                continue
            ends[name] = End(answers.get(name), time.monotonic() - began)
            poll.unregister(number)
            del by_number[number]
    return ends


@pytest.fixture(scope="module", params=["open", "keyed"])
def stalled(request: pytest.FixtureRequest) -> dict[str, End]:
    """All of these at the same time, each on a connection."""
    fleet: Fleet = request.getfixturevalue(f"{request.param}_gateway")
    callers = {name: fleet.connect() for name in STALLS}
    for name, upload in STALLS.items():
        callers[name].send(upload(fleet))
    ends = _ends(callers, within_s=BODY_TIMEOUT_S + _MARGIN_S)
    for caller in callers.values():
        caller.close()
    return ends


@pytest.mark.parametrize("name", STALLS)
def test_a_body_that_stops_is_answered_408_and_closed(stalled: dict[str, End], name: str) -> None:
    assert name in stalled, "the connection is open for ever"
    end = stalled[name]
    assert end.answer is not None
    assert end.answer.status == 408
    assert end.seconds > BODY_TIMEOUT_S * 0.8


@pytest.fixture(scope="module")
def impatient_gateway(backend: Backend) -> Iterator[Fleet]:
    """Keeps no idle connection for long, and waits for no head."""
    with started(backend, "impatient", database=3, keep_alive_s=str(_KEEP_ALIVE_S)) as fleet:
        yield fleet


@pytest.fixture
def impatient_fleet(impatient_gateway: Fleet) -> Iterator[Fleet]:
    with impatient_gateway.guarded():
        yield impatient_gateway
        impatient_gateway.close()  # also the other callers' connections have been idle for too long
        impatient_gateway.open_victims()


@pytest.fixture(scope="module")
def stopped(impatient_gateway: Fleet) -> dict[str, End]:
    """All of these at the same time, each on a connection."""
    callers = {name: impatient_gateway.connect() for name in HEADS}
    for name, head in HEADS.items():
        callers[name].send(head)
    ends = _ends(callers, within_s=_KEEP_ALIVE_S + _MARGIN_S)
    for caller in callers.values():
        caller.close()
    return ends


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_stops_is_the_end(stopped: dict[str, End], name: str) -> None:
    assert name in stopped, "the connection is open for ever"
    answer = stopped[name].answer
    assert answer is None or answer.status in {400, 408}


@pytest.mark.parametrize("behind", [False, True], ids=["first", "behind a request"])
def test_a_head_that_drips_is_the_end(impatient_fleet: Fleet, *, behind: bool) -> None:
    with impatient_fleet.connect() as caller:
        if behind:
            caller.send(impatient_fleet.infer(impatient_fleet.nonce()))
            answer = caller.answer()
            assert answer is not None
        caller.send(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n")
        began = time.monotonic()
        while not caller.closed_within(0.1):
            caller.send(b"X-A: a\r\n")
            assert time.monotonic() - began < _KEEP_ALIVE_S + _MARGIN_S


def test_a_body_that_drips_is_waited_for(fleet: Fleet) -> None:
    """Slow is not stalled: each part comes in time, and the whole takes longer than the limit."""
    nonce = fleet.nonce()
    body = messages.infer_json(nonce, 1.0) + b" " * 2000
    fields = [*fleet.fields(nonce), messages.JSON_TYPE, b"Content-Length: %d" % len(body)]
    with fleet.connect() as caller:
        caller.send(messages.head("POST", messages.INFER, fields))
        for part in range(0, len(body), 100):
            caller.send(body[part : part + 100])
            time.sleep(BODY_TIMEOUT_S * 1.2 * 100 / len(body))
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 200
    assert nonce.encode() in answer.body


def test_a_body_that_drips_too_slowly_is_not_waited_for(fleet: Fleet) -> None:
    """A byte now and then keeps no place for ever."""
    with fleet.connect() as caller:
        caller.send(_upload(fleet, messages.INFER, b"{", messages.JSON_TYPE))
        began = time.monotonic()
        while not select.select([caller], [], [], 0.1)[0]:
            caller.send(b" ")
            assert time.monotonic() - began < 2 * BODY_TIMEOUT_S + _MARGIN_S
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 408


@pytest.fixture
def crowd() -> Iterator[list[Caller]]:
    callers: list[Caller] = []
    yield callers
    for caller in callers:
        caller.close()


@pytest.mark.parametrize("name", UPLOADS)
def test_six_hundred_stalled_uploads_are_in_nobodys_way(open_fleet: Fleet, crowd: list[Caller], name: str) -> None:
    for _ in range(_MANY):
        caller = open_fleet.connect()
        crowd.append(caller)
        caller.send(UPLOADS[name](open_fleet))
    for _ in range(3):
        open_fleet.require_own_answers()
    require_in_time(open_fleet.live_s, limit_s=1)
    ends = _ends({str(place): one for place, one in enumerate(crowd)}, within_s=BODY_TIMEOUT_S + 2 * _MARGIN_S)
    assert len(ends) == _MANY
    assert {end.answer.status if end.answer else 0 for end in ends.values()} == {408}


def test_a_thousand_connections_that_say_nothing_are_in_nobodys_way(
    impatient_fleet: Fleet, crowd: list[Caller]
) -> None:
    crowd += [impatient_fleet.connect() for _ in range(1000)]
    for _ in range(3):
        impatient_fleet.open_victims()
        require_in_time(impatient_fleet.live_s, limit_s=1)
    ends = _ends({str(place): one for place, one in enumerate(crowd)}, within_s=_KEEP_ALIVE_S + 2 * _MARGIN_S)
    assert len(ends) == 1000


def test_a_connection_between_two_requests_stays_open(fleet: Fleet) -> None:
    """Pools of proxies keep theirs for a minute; what a body may take is no limit of it."""
    first, second = fleet.nonce(), fleet.nonce()
    with fleet.connect() as caller:
        caller.send(fleet.infer(first))
        answer = caller.answer()
        time.sleep(BODY_TIMEOUT_S * 1.2)
        caller.send(fleet.infer(second))
        later = caller.answer()
    assert answer is not None
    assert later is not None
    assert later.status == 200
