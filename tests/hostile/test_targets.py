"""Targets and methods (RFC 9112, section 3; RFC 9110, sections 7.1 and 9)."""

from __future__ import annotations

import pytest

from tests.hostile import messages
from tests.hostile.fleet import Fleet


def _infer(fleet: Fleet, nonce: str, target: str, *, method: str = "POST", host: bytes = messages.HOST) -> bytes:
    body = messages.infer_json(nonce, 1.0)
    fields = [*fleet.credentials(), messages.JSON_TYPE, b"Content-Length: %d" % len(body)]
    return messages.head(method, target, fields, host=host) + body


@pytest.mark.parametrize("prefix", ["http://localhost", "HTTP://localhost:80", "http://127.0.0.1"])
def test_the_absolute_form_is_served(fleet: Fleet, prefix: str) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(_infer(fleet, nonce, prefix + messages.INFER))
    assert (outcome.statuses, outcome.followed) == ([200], True)
    (request,) = fleet.seen(nonce)
    assert request.target == messages.INFER


@pytest.mark.parametrize(
    "prefix", ["http://evil.example", "http://localhost@evil.example", "ftp://localhost", "http://"]
)
def test_the_absolute_form_of_another_place_is_answered_once(fleet: Fleet, prefix: str) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(_infer(fleet, nonce, prefix + messages.INFER))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] in {200, 400, 403, 404, 421}
    assert all(request.target == messages.INFER for request in fleet.seen(nonce))


ODD_TARGETS = {
    "authority": "localhost:80", "asterisk": "*", "no slash": "v2/models/echo/infer", "empty query": "?",
    "fragment": messages.INFER + "#a", "space": "/v2/models/echo /infer", "bytes over 127": "/v2/models/\xe9/infer",
    "UTF-8": "/v2/models/é/infer".encode().decode("latin-1"), "NUL": "/v2/models/echo/infer\x00",
    "NUL, escaped": "/v2/models/echo%00/infer", "CR LF, escaped": "/v2/models/echo%0d%0aX:%20a/infer",
    "backslash": "\\v2\\models\\echo\\infer", "dots": "/v1/medical/../../v2/models/echo/infer",
    "dots, escaped": "/v1/medical/%2e%2e/perception/classifications", "dot": "/v1/./perception/classifications",
    "two slashes": "//v2/models/echo/infer", "slash, escaped": "/v1/perception%2fclassifications",
    "backslashes, escaped": "/v1/medical/..%5c..%5cperception", "half an escape": "/v2/models/echo%2/infer",
    "no escape": "/v2/models/echo%zz/infer", "quote": '/v2/models/"echo"/infer', "angle": "/v2/models/<echo>/infer",
    "delete": "/v2/models/echo\x7f/infer", "tab": "/v2/models/echo\t/infer", "bell": "/v2/models/echo\x07/infer",
    "parameters": "/v2/models/echo;a=b/infer", "scheme only": "http:", "javascript": "javascript:alert(1)",
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_TARGETS)
def test_an_odd_target_is_refused_or_not_found(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    outcome = open_fleet.exchange(_infer(open_fleet, nonce, ODD_TARGETS[name]))
    assert len(outcome.answers) == 1
    cut_off = name == "fragment" and outcome.statuses == [200]  # as servers may that see no fragment
    assert cut_off or 400 <= outcome.statuses[0] < 500, outcome.answers[0].body
    for request in open_fleet.seen(nonce):
        assert not {"..", "%00", " ", "\t", "#"} & set(request.target.lower().replace("%2e", ".").split("/"))
        assert request.target.isascii()


@pytest.mark.parametrize("method", ["get", "Get", "post", "FOO", "G3T", "A" * 40, "POST!", "PRI", "M-SEARCH", "SOURCE"])
def test_a_method_that_nobody_knows_is_refused(open_fleet: Fleet, method: str) -> None:
    outcome = open_fleet.exchange(messages.head(method, "/health/live", open_fleet.credentials()))
    assert len(outcome.answers) <= 1
    assert set(outcome.statuses) <= {400, 401, 403, 405, 501}
    assert outcome.answers or not outcome.followed


def test_connect_makes_no_tunnel(fleet: Fleet) -> None:
    for target in (f"127.0.0.1:{fleet.tap.port}", "localhost:6379", "/v2"):
        data = messages.head("CONNECT", target, fleet.credentials())
        outcome = fleet.exchange(data, methods=["CONNECT"])
        assert len(outcome.answers) <= 1
        assert set(outcome.statuses) <= {400, 401, 403, 404, 405, 501}
        assert outcome.answers or not outcome.followed


def test_trace_tells_nobody_what_was_sent(fleet: Fleet) -> None:
    fields = [*fleet.credentials(), b"X-Secret: do-not-tell"]
    outcome = fleet.exchange(messages.head("TRACE", "/v2", fields))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] in {400, 403, 404, 405, 501}
    assert b"do-not-tell" not in outcome.answers[0].body


@pytest.mark.parametrize("target", ["*", "/v2", messages.INFER])
def test_options_is_answered_once(fleet: Fleet, target: str) -> None:
    outcome = fleet.exchange(messages.head("OPTIONS", target, fleet.fields(fleet.nonce())))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] < 500


def test_the_preface_of_http_2_is_no_request(fleet: Fleet) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    outcome = fleet.exchange(preface)
    assert outcome.statuses in ([], [400], [505])
    assert not outcome.followed


@pytest.mark.parametrize("target", ["/health/live", "/v2", "/v1/models", "/openapi.json"])
def test_head_is_get_without_the_body(open_fleet: Fleet, target: str) -> None:
    outcome = open_fleet.exchange(messages.head("HEAD", target, []), methods=["HEAD"])
    assert (outcome.statuses, outcome.followed) == ([200], True)
    assert outcome.answers[0].body == b""


def test_head_with_a_body_that_is_a_request(fleet: Fleet) -> None:
    data = messages.request("HEAD", "/health/live", messages.SMUGGLED, fleet.credentials())
    outcome = fleet.exchange(data, methods=["HEAD"])
    assert len(outcome.answers) <= 1
    assert outcome.followed or outcome.statuses in ([400], [405])


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "PUT", "PATCH"])
@pytest.mark.parametrize("target", ["/health/live", "/v1/perception/nothing", "/nowhere"])
def test_the_body_of_any_method_is_its_body(open_fleet: Fleet, method: str, target: str) -> None:
    nonce = open_fleet.nonce()
    fields = open_fleet.fields(nonce)
    outcome = open_fleet.exchange(messages.request(method, target, messages.SMUGGLED, fields))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] < 500
