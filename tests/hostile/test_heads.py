"""Heads that are not what RFC 9112 (sections 2 to 5) says: white space, line ends, versions, Host."""

from __future__ import annotations

import pytest

from tests.hostile import messages
from tests.hostile.fleet import Fleet

REFUSED_FIELDS = {
    "space before the colon": b"X-Some : value",
    "tab before the colon": b"X-Some\t: value",
    "no name": b": value",
    "no colon": b"X-Some",
    "space in the name": b"X Some: value",
    "NUL in the name": b"X-\x00Some: value",
    "NUL in the value": b"X-Some: a\x00b",
    "control character in the name": b"X-\x01Some: value",
    "control character in the value": b"X-Some: a\x01b",
    "delete in the value": b"X-Some: a\x7fb",
    "bare CR in the value": b"X-Some: a\rContent-Length: 3",
    "CR before CRLF": b"X-Some: a\r",
    "UTF-8 in the name": "X-Sömé: value".encode(),
    "bracket in the name": b"X-(Some): value",
    "quoted name": b'"X-Some": value',
    "request line among the fields": b"GET /health/live HTTP/1.1",
}

TOLERATED_FIELDS = {
    "folded": b"X-Some: a\r\n b",
    "folded by a tab": b"X-Some: a\r\n\tb",
    "bare LF": b"X-Some: a\nX-Other: b",
    "bare LF before a framing field": b"X-Some: a\nTransfer-Encoding: chunked",
    "bytes over 127": b"X-Some: \xff\xfe",
    "UTF-8 in the value": "X-Some: sömé".encode(),
    "empty value": b"X-Some:",
    "colons": b"X-Some::::a",
    "name of one character": b"X: a",
}
"""Served or refused; never read in two ways."""

_FIRST = ("space before the colon", "no name", "NUL in the name", "CR before CRLF")
_MESSAGES = ("infer", "picture")


def _sent(fleet: Fleet, nonce: str, line: bytes, route: str) -> bytes:
    if route == "infer":
        return fleet.infer(nonce, fields=[line])
    return fleet.picture(nonce, 60, fields=[line])


@pytest.mark.parametrize("route", _MESSAGES)
@pytest.mark.parametrize("name", REFUSED_FIELDS)
def test_a_field_that_is_none_is_refused_and_the_connection_closed(open_fleet: Fleet, name: str, route: str) -> None:
    nonce = open_fleet.nonce()
    outcome = open_fleet.exchange(_sent(open_fleet, nonce, REFUSED_FIELDS[name], route))
    assert (outcome.statuses, outcome.followed) == ([400], False)
    assert open_fleet.seen(nonce) == []


@pytest.mark.parametrize("name", TOLERATED_FIELDS)
def test_a_field_that_some_tolerate_has_one_meaning(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    outcome = open_fleet.exchange(_sent(open_fleet, nonce, TOLERATED_FIELDS[name], "infer"))
    assert len(outcome.answers) == 1
    assert len(open_fleet.seen(nonce)) == outcome.statuses.count(200)
    assert outcome.statuses[0] == 200 or not outcome.followed


@pytest.mark.parametrize("name", _FIRST)
def test_the_first_field_is_read_like_the_others(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    whole = open_fleet.infer(nonce)
    line, _, rest = whole.partition(b"\r\n")
    outcome = open_fleet.exchange(line + b"\r\n" + REFUSED_FIELDS[name] + b"\r\n" + rest)
    assert (outcome.statuses, outcome.followed) == ([400], False)


REQUEST_LINES = {
    "white space before the first field": b"POST {target} HTTP/1.1\r\n X-Some: a",
    "tab before the first field": b"POST {target} HTTP/1.1\r\n\tX-Some: a",
    "leading space": b" POST {target} HTTP/1.1",
    "leading tab": b"\tPOST {target} HTTP/1.1",
    "tab between": b"POST\t{target}\tHTTP/1.1",
    "vertical tab between": b"POST\x0b{target}\x0bHTTP/1.1",
    "form feed between": b"POST\x0c{target} HTTP/1.1",
    "NUL in the method": b"PO\x00ST {target} HTTP/1.1",
    "colon in the method": b"PO:ST {target} HTTP/1.1",
    "no method": b"{target} HTTP/1.1",
    "no target": b"POST HTTP/1.1",
    "four words": b"POST {target} {target} HTTP/1.1",
    "bare CR at the end": b"POST {target} HTTP/1.1\rX-Some: a",
    "HTTP/0.9": b"POST {target} HTTP/0.9",
    "HTTP/1.2": b"POST {target} HTTP/1.2",
    "HTTP/2.0": b"POST {target} HTTP/2.0",
    "HTTP/3.0": b"POST {target} HTTP/3.0",
    "HTTP/11": b"POST {target} HTTP/11",
    "HTTP/1.10": b"POST {target} HTTP/1.10",
    "HTTP/1.": b"POST {target} HTTP/1.",
    "HTTP/1,1": b"POST {target} HTTP/1,1",
    "http/1.1": b"POST {target} http/1.1",
    "HTTPS/1.1": b"POST {target} HTTPS/1.1",
    "ICY": b"POST {target} ICY/1.1",
    "RTSP": b"POST {target} RTSP/1.0",
    "version with a space": b"POST {target} HTTP/ 1.1",
}

_MAY_BE_SERVED = frozenset({"HTTP/1.2", "tab between"})
"""RFC 9110, section 2.5: a higher minor version is read as the highest that is known; RFC 9112, section 3: words may be
told apart by other white space."""


@pytest.mark.parametrize("name", REQUEST_LINES)
def test_a_request_line_that_is_none_is_refused(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    _, _, rest = open_fleet.infer(nonce).partition(b"\r\n")
    line = REQUEST_LINES[name].replace(b"{target}", messages.INFER.encode())
    outcome = open_fleet.exchange(line + b"\r\n" + rest)
    assert len(outcome.answers) == 1
    served = outcome.statuses == [200] and name in _MAY_BE_SERVED
    assert served or outcome.statuses[0] in {400, 426, 505}
    assert served or not outcome.followed
    assert len(open_fleet.seen(nonce)) == served


@pytest.mark.parametrize("before", [b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\n\n\r\n", b"\r\r\n", b" \r\n", b"\x00\r\n"])
def test_what_comes_before_a_request_is_skipped_or_refused(open_fleet: Fleet, before: bytes) -> None:
    nonce = open_fleet.nonce()
    outcome = open_fleet.exchange(before + open_fleet.infer(nonce))
    assert outcome.statuses in ([200], [400])
    assert outcome.followed == (outcome.statuses == [200])
    if before == b"\r\n":
        assert outcome.statuses == [200]  # RFC 9112, section 2.2


def test_all_lines_end_in_a_bare_line_feed(open_fleet: Fleet) -> None:
    nonce = open_fleet.nonce()
    head, _, body = open_fleet.infer(nonce).partition(b"\r\n\r\n")
    outcome = open_fleet.exchange(head.replace(b"\r\n", b"\n") + b"\n\n" + body)
    assert outcome.statuses in ([200], [400])
    assert outcome.followed == (outcome.statuses == [200])
    assert len(open_fleet.seen(nonce)) == outcome.statuses.count(200)


@pytest.mark.parametrize("end", [b"\n\r\n", b"\r\n\n", b"\r\r\n", b"\n\r\r\n", b"\r\n\r\r\n", b"\r\n \r\n\r\n"])
def test_heads_that_end_oddly_end_once(open_fleet: Fleet, end: bytes) -> None:
    nonce = open_fleet.nonce()
    head, _, body = open_fleet.infer(nonce).partition(b"\r\n\r\n")
    outcome = open_fleet.exchange(head + end + body)
    assert outcome.statuses in ([200], [400])
    assert outcome.followed == (outcome.statuses == [200])
    assert len(open_fleet.seen(nonce)) == outcome.statuses.count(200)


def test_a_request_of_the_first_version_of_all(open_fleet: Fleet) -> None:
    outcome = open_fleet.exchange(b"GET /health/live\r\n\r\n")
    assert outcome.statuses in ([400], [])
    assert not outcome.followed


@pytest.mark.parametrize("target", ["/v2/models/echo/infer", "/health/live"])
def test_host_is_there_once(fleet: Fleet, target: str) -> None:
    nonce = fleet.nonce()
    fields = [*fleet.credentials(), messages.JSON_TYPE]
    body = messages.infer_json(nonce, 1.0)
    fields.append(b"Content-Length: %d" % len(body))
    for hosts in ([], [b"Host: localhost"] * 2, [b"Host: localhost", b"Host: other"], [b"Host: other", b"hOsT:"]):
        outcome = fleet.exchange(messages.head("POST", target, [*hosts, *fields], host=None) + body)
        assert outcome.statuses == [400], hosts
    assert fleet.seen(nonce) == []


@pytest.mark.parametrize(
    "host",
    [b"a b", b"a/b", b"a,b", b"user@localhost", b"localhost:abc", b"localhost:99999999", b"[::1", b"localhost#a",
     b"localhost?a", b"<script>", b"local\xffhost", b"http://localhost"],
)  # fmt: skip
def test_a_host_that_is_none_is_refused(open_fleet: Fleet, host: bytes) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    fields = [*open_fleet.credentials(), messages.JSON_TYPE, b"Content-Length: %d" % len(body)]
    outcome = open_fleet.exchange(messages.head("POST", messages.INFER, fields, host=host) + body)
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] in {400, 421}
    assert open_fleet.seen(nonce) == []


@pytest.mark.parametrize("host", [b"evil.example", b"localhost.evil.example", b"127.0.0.1.evil.example:80", b"facet"])
def test_without_keys_only_names_of_this_machine_are_answered(open_fleet: Fleet, host: bytes) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    fields = [messages.JSON_TYPE, b"Content-Length: %d" % len(body)]
    outcome = open_fleet.exchange(messages.head("POST", messages.INFER, fields, host=host) + body)
    assert outcome.statuses in ([421], [403])
    assert open_fleet.seen(nonce) == []


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:8000", b"127.0.0.1", b"[::1]:8000", b"192.168.7.9:8000"])
def test_names_of_this_machine_are_answered(fleet: Fleet, host: bytes) -> None:
    nonce = fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    fields = [*fleet.credentials(), messages.JSON_TYPE, b"Content-Length: %d" % len(body)]
    outcome = fleet.exchange(messages.head("POST", messages.INFER, fields, host=host) + body)
    assert (outcome.statuses, outcome.followed) == ([200], True)
