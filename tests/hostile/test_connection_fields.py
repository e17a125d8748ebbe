"""Fields that a caller nominates in Connection, to have the gateway drop them on the way (RFC 9110, section 7.6.1)."""

from __future__ import annotations

import pytest

from tests.hostile import messages
from tests.hostile.fleet import Fleet

_ALWAYS_SERVED = (
    "content-length", "transfer-encoding", "host", "content-length, host", "close, content-length",
    "keep-alive, transfer-encoding", "facet-caller", "facet-fleet-token", "facet-job-limit", "facet-creation-key",
    "x-request-id", "traceparent", "x-forwarded-for", "forwarded", "connection", "upgrade", "te", "expect",
    "idempotency-key", "x-canary", "accept", "authorization", "x-api-key",
)  # fmt: skip
"""A gateway drops them, or writes them itself; in no case does what it serves depend on the nomination."""

_SAY_HOW_BODIES_ARE_READ = ("content-type", "inference-header-content-length", "content-encoding")
"""Without them the service may find that it cannot read the body."""

_ROUTES = ("infer", "image")


def _message(fleet: Fleet, route: str, nonce: str, fields: list[bytes]) -> bytes:
    return fleet.infer(nonce, fields=fields) if route == "infer" else fleet.picture(nonce, 60, fields=fields)


@pytest.mark.parametrize("route", _ROUTES)
@pytest.mark.parametrize("nominated", _ALWAYS_SERVED)
def test_a_nominated_field_changes_nothing_of_framing_or_identity(fleet: Fleet, nominated: str, route: str) -> None:
    nonce = fleet.nonce()
    fields = [b"Connection: " + nominated.encode(), *messages.FORGED]
    outcome = fleet.exchange(_message(fleet, route, nonce, fields))
    assert outcome.statuses == [200]
    assert outcome.followed == (not nominated.startswith("close"))
    assert len(fleet.seen(nonce)) == 1


@pytest.mark.parametrize("route", _ROUTES)
@pytest.mark.parametrize("nominated", _SAY_HOW_BODIES_ARE_READ)
def test_a_nominated_field_of_the_content_is_kept_or_the_request_refused(
    fleet: Fleet, nominated: str, route: str
) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(_message(fleet, route, nonce, [b"Connection: " + nominated.encode()]))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] in {200, 400, 415, 422}
    assert len(fleet.seen(nonce)) <= 1


@pytest.mark.parametrize("nominated", ["content-length", "transfer-encoding", "Content-Length", "content-length\t,x"])
def test_a_request_inside_a_body_is_never_one_of_its_own(fleet: Fleet, nominated: str) -> None:
    nonce = fleet.nonce()
    fields = [*fleet.credentials(), messages.JSON_TYPE, b"Connection: " + nominated.encode()]
    body = messages.SMUGGLED + b'{"id": "%b"}' % nonce.encode()
    outcome = fleet.exchange(messages.request("POST", messages.INFER, body, fields))
    assert len(outcome.answers) == 1
    assert 400 <= outcome.statuses[0] < 500
    assert len(fleet.seen(nonce)) <= 1


@pytest.mark.parametrize("nominated", ["transfer-encoding", "content-length", "host", "trailer"])
def test_a_chunked_body_stays_one_body(fleet: Fleet, nominated: str) -> None:
    nonce = fleet.nonce()
    fields = [*fleet.credentials(), messages.JSON_TYPE, b"Transfer-Encoding: chunked"]
    fields.append(b"Connection: " + nominated.encode())
    body = messages.chunked(messages.infer_json(nonce, 1.0), size=10)
    outcome = fleet.exchange(messages.head("POST", messages.INFER, fields) + body)
    assert (outcome.statuses, outcome.followed) == ([200], True)
    assert len(fleet.seen(nonce)) == 1


def test_several_lines_of_connection_are_one_list(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    fields = [b"Connection: content-length", b"Connection: host, facet-caller", b"Connection: transfer-encoding"]
    outcome = fleet.exchange(fleet.infer(nonce, fields=[*fields, *messages.FORGED]))
    assert (outcome.statuses, outcome.followed) == ([200], True)


def test_identity_that_only_the_gateway_gives_is_not_taken_from_callers(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(fleet.infer(nonce, fields=messages.FORGED))
    assert (outcome.statuses, outcome.followed) == ([200], True)
    (request,) = fleet.seen(nonce)
    assert request.values("facet-caller") != ["radiology"]


def test_without_a_key_nothing_reaches_the_service(keyed_fleet: Fleet) -> None:
    nonce = keyed_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    for nominated in (b"authorization", b"content-length", b"x-api-key"):
        fields = [messages.JSON_TYPE, b"Connection: " + nominated, *messages.FORGED]
        outcome = keyed_fleet.exchange(messages.request("POST", messages.INFER, body, fields))
        assert outcome.statuses == [401]
    assert keyed_fleet.seen(nonce) == []
