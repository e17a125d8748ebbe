"""Hostile framing comes to nothing behind nginx and Caddy either.

Where a proxy does otherwise than the gateway by itself, deploy/reverse_proxy/README.md says so.
"""

from __future__ import annotations

import pytest

from tests.hostile import messages
from tests.hostile.fleet import Fleet, read_outcome
from tests.hostile.framing_cases import CHUNKED, HEADS, VALUE
from tests.hostile.reverse_proxies.requirements import get, require_one_meaning, require_single
from tests.hostile.test_lengths import message
from tests.hostile.test_upgrade import OFFERS


@pytest.mark.parametrize("name", HEADS)
def test_a_head_has_one_meaning(fleet: Fleet, proxy: str, name: str) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(HEADS[name](fleet, nonce))
    require_one_meaning(fleet, nonce, outcome)
    by_caddy = {502} if (proxy, name) == ("caddy", "field, bare LF before a framing field") else set()
    assert set(outcome.statuses) <= {200, 400, 501, 505} | by_caddy
    # nginx passes control characters in values on: the gateway refuses them, and nginx, which knows where the body
    # ends, keeps its connection.
    by_nginx = proxy == "nginx" and name in {"field, control character in the value", "field, delete in the value"}
    assert outcome.followed <= (outcome.statuses == [200] or by_nginx)


@pytest.mark.parametrize("name", CHUNKED)
def test_chunks_have_one_meaning(fleet: Fleet, proxy: str, name: str) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(CHUNKED[name](fleet, nonce))
    require_one_meaning(fleet, nonce, outcome)
    # Caddy has asked the gateway when it finds that the chunks are none, and blames the gateway.
    assert set(outcome.statuses) <= ({200, 400, 502} if proxy == "caddy" else {200, 400})
    assert outcome.followed <= (outcome.statuses == [200])


@pytest.mark.parametrize("first", ["length", "coding"])
def test_length_and_coding(fleet: Fleet, proxy: str, first: str) -> None:
    """nginx refuses; Caddy reads chunks, passes chunks on, and keeps the connection, which RFC 9112 has it close."""
    nonce = fleet.nonce()
    body = messages.chunked(messages.infer_json(nonce, VALUE))
    lines = [b"Content-Length: %d" % (len(body) + 9), b"Transfer-Encoding: chunked"]
    outcome = fleet.exchange(message(fleet, nonce, lines if first == "length" else lines[::-1], body))
    assert (outcome.statuses, outcome.followed) == (([400], False) if proxy == "nginx" else ([200], True))
    require_one_meaning(fleet, nonce, outcome)


@pytest.mark.parametrize("coding", [b"xchunked", b"identity", b"chunked\x0b", b"chunked, identity"])
def test_a_request_behind_a_coding_that_some_do_not_see(fleet: Fleet, coding: bytes) -> None:
    nonce = fleet.nonce()
    body = messages.chunked(messages.infer_json(nonce, VALUE)) + messages.SMUGGLED
    lines = [b"Content-Length: %d" % len(body), b"Transfer-Encoding: " + coding]
    outcome = fleet.exchange(message(fleet, nonce, lines, body))
    assert outcome.statuses in ([400], [501])
    assert not outcome.followed
    assert fleet.seen(nonce) == []


def test_a_request_in_a_body_is_none(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    fields = [*fleet.fields(nonce), messages.JSON_TYPE, b"Connection: content-length"]
    outcome = fleet.exchange(messages.request("POST", messages.INFER, messages.SMUGGLED, fields))
    assert len(outcome.answers) == 1
    assert 400 <= outcome.statuses[0] < 500


def test_requests_that_come_early_are_answered_in_their_order(fleet: Fleet) -> None:
    nonces = [fleet.nonce() for _ in range(20)]
    outcome = fleet.exchange(b"".join(fleet.infer(nonce) for nonce in nonces))
    assert (outcome.statuses, outcome.followed) == ([200] * len(nonces), True)
    assert [nonce.encode() in answer.body for nonce, answer in zip(nonces, outcome.answers, strict=True)] == [True] * 20


@pytest.mark.parametrize("field", [b"Content-Length: nine", b"Transfer-Encoding: x, chunked", b"X-\x00: a"])
def test_a_request_behind_a_refused_one_is_not_executed(fleet: Fleet, field: bytes) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(messages.head("POST", messages.INFER, [field]) + fleet.infer(nonce))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] in {400, 501}
    assert not outcome.followed
    assert fleet.seen(nonce) == []


def test_a_request_behind_close_is_not_executed(fleet: Fleet) -> None:
    first, second = fleet.nonce(), fleet.nonce()
    outcome = fleet.exchange(fleet.infer(first, fields=[b"Connection: close"]) + fleet.infer(second))
    assert (outcome.statuses, outcome.followed) == ([200], False)
    assert fleet.seen(second) == []


@pytest.mark.parametrize("name", OFFERS)
def test_an_offer_of_another_protocol_ends_at_the_proxy(fleet: Fleet, name: str) -> None:
    nonce = fleet.nonce()
    with fleet.connect() as caller:
        sentinel = fleet.nonce()
        caller.send(fleet.infer(nonce, fields=OFFERS[name]) + fleet.infer(sentinel))
        outcome = read_outcome(caller, sentinel)
    assert (outcome.statuses, outcome.followed) == ([200], True)
    assert outcome.answers[0].interim == ()
    require_single(fleet, nonce)


@pytest.mark.parametrize("size", [20_000, 60_000])
def test_a_long_head_is_served(fleet: Fleet, size: int) -> None:
    assert get(fleet, "/health/live", b"X-Long: " + b"a" * size).status == 200


def test_a_head_over_the_limit_is_refused(fleet: Fleet) -> None:
    lines = [b"X-%d: " % number + b"a" * 9000 for number in range(8)]
    assert fleet.first_answer(messages.head("GET", "/health/live", lines)).status == 431
