"""Offers to change the protocol, which Facet does not take up: a body stays a body (RFC 9110, section 7.8)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from tests.hostile import messages
from tests.hostile.fleet import Fleet, Outcome, read_outcome

OFFERS: dict[str, list[bytes]] = {
    "curl --http2": [
        b"User-Agent: curl/8.5.0", b"Accept: */*", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    ],
    "Java's HttpClient": [
        b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
        b"Upgrade: h2c", b"User-Agent: Java-http-client/21.0.2",
    ],
    "websocket": [
        b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
    ],
    "websocket, unwell": [b"Connection: Upgrade", b"Upgrade: websocket"],
    "TLS/1.0": [b"Upgrade: TLS/1.0", b"Connection: Upgrade"],
    "foo": [b"Upgrade: foo", b"Connection: Upgrade"],
    "several": [b"Connection: keep-alive, Upgrade", b"Upgrade: h2c, websocket, foo/2"],
    "empty": [b"Connection: Upgrade", b"Upgrade:"],
    "not in Connection": [b"Upgrade: h2c"],
    "only in Connection": [b"Connection: Upgrade"],
}  # fmt: skip


def _followed(fleet: Fleet, parts: Sequence[bytes], *, pause_s: float = 0.05) -> Outcome:
    """Send parts apart from each other, and a request at the end."""
    with fleet.connect() as caller:
        sentinel = fleet.nonce()
        for part in parts:
            caller.send(part)
            time.sleep(pause_s)
        caller.send(fleet.infer(sentinel))
        return read_outcome(caller, sentinel)


def _parts(fleet: Fleet, nonce: str, offer: Sequence[bytes], body: bytes) -> tuple[bytes, bytes]:
    fields = [*fleet.fields(nonce), messages.JSON_TYPE, *offer]
    return messages.head("POST", messages.INFER, [*fields, b"Content-Length: %d" % len(body)]), body


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("name", OFFERS)
def test_a_body_sent_with_an_offer_is_served(fleet: Fleet, name: str, *, later: bool) -> None:
    nonce = fleet.nonce()
    head, body = _parts(fleet, nonce, OFFERS[name], messages.infer_json(nonce, 1.0))
    outcome = _followed(fleet, [head, body]) if later else fleet.exchange(head + body)
    assert (outcome.statuses, outcome.followed) == ([200], True)
    assert nonce.encode() in outcome.answers[0].body
    assert len(fleet.seen(nonce)) == 1


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("name", OFFERS)
def test_a_request_in_a_body_sent_with_an_offer_is_not_executed(fleet: Fleet, name: str, *, later: bool) -> None:
    nonce = fleet.nonce()
    inner = messages.head("GET", "/v1/jobs?limit=1", fleet.credentials())
    head, body = _parts(fleet, nonce, OFFERS[name], inner + messages.SMUGGLED)
    outcome = _followed(fleet, [head, body]) if later else fleet.exchange(head + body)
    assert len(outcome.answers) == 1
    assert 400 <= outcome.statuses[0] < 500


@pytest.mark.parametrize("name", OFFERS)
def test_a_chunked_body_sent_with_an_offer_is_served(fleet: Fleet, name: str) -> None:
    nonce = fleet.nonce()
    fields = [*fleet.credentials(), messages.JSON_TYPE, *OFFERS[name], b"Transfer-Encoding: chunked"]
    body = messages.chunked(messages.infer_json(nonce, 1.0), size=20)
    outcome = fleet.exchange(messages.head("POST", messages.INFER, fields) + body)
    assert (outcome.statuses, outcome.followed) == ([200], True)


@pytest.mark.parametrize("target", ["/health/live", "/v1/perception/nothing"])
@pytest.mark.parametrize("name", OFFERS)
def test_a_get_with_an_offer_is_answered_and_so_is_the_next(open_fleet: Fleet, name: str, target: str) -> None:
    nonce = open_fleet.nonce()
    fields = [*OFFERS[name], b"X-Canary: " + nonce.encode()]
    outcome = open_fleet.exchange(messages.head("GET", target, fields))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] == (200 if target == "/health/live" else 404)
    assert not outcome.answers[0].interim


@pytest.mark.parametrize("target", ["/health/live", "/nowhere", "/v1/jobs/unknown"])
@pytest.mark.parametrize("name", ["foo", "curl --http2", "websocket"])
def test_the_body_of_a_get_with_an_offer_is_not_executed(fleet: Fleet, name: str, target: str) -> None:
    body = messages.head("GET", "/v1/jobs?limit=1", fleet.credentials())
    fields = [*fleet.credentials(), *OFFERS[name], b"Content-Length: %d" % len(body)]
    outcome = _followed(fleet, [messages.head("GET", target, fields), body])
    assert len(outcome.answers) == 1


def test_webhooks_with_the_body_being_a_list_of_jobs(open_fleet: Fleet) -> None:
    body = messages.head("GET", "/v1/jobs?limit=1", [])
    fields = [messages.JSON_TYPE, b"Content-Length: %d" % len(body), b"Upgrade: foo", b"Connection: Upgrade"]
    outcome = _followed(open_fleet, [messages.head("POST", "/v1/webhooks", fields), body], pause_s=0.2)
    assert len(outcome.answers) == 1
    assert 400 <= outcome.statuses[0] < 500
