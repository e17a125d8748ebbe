"""Chunked bodies: sizes, extensions, trailers, ends (RFC 9112, section 7.1)."""

from __future__ import annotations

import pytest

from tests.hostile import messages
from tests.hostile.fleet import Fleet


def chunked_head(fleet: Fleet, nonce: str, *more: bytes) -> bytes:
    fields = [*fleet.fields(nonce), messages.JSON_TYPE]
    return messages.head("POST", messages.INFER, [*fields, b"Transfer-Encoding: chunked", *more])


def one_chunk(size: bytes, data: bytes, *, end: bytes = b"\r\n0\r\n\r\n") -> bytes:
    return size + b"\r\n" + data + end


REFUSED_SIZES = {
    "0x": b"0x%x", "plus": b"+%x", "minus": b"-%x", "nothing": b"", "no number": b"g", "space inside": b"%x %x",
    "underscore": b"%x_0", "17 digits": b"1%016x",
    "fraction": b"%x.0", "comma": b"%x,%x", "NUL": b"%x\x00", "bare CR": b"%x\r;a", "h": b"%xh", "quote": b'"%x"',
    "leading space": b" %x", "leading tab": b"\t%x", "high digit": "٣".encode(),
}  # fmt: skip


def size_of(template: bytes, length: int) -> bytes:
    return template % tuple([length] * template.count(b"%"))


@pytest.mark.parametrize("name", REFUSED_SIZES)
def test_a_size_that_is_no_number_is_refused(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    size = size_of(REFUSED_SIZES[name], len(body))
    outcome = open_fleet.exchange(chunked_head(open_fleet, nonce) + one_chunk(size, body))
    assert len(outcome.answers) <= 1
    assert set(outcome.statuses) <= {400, 413}
    assert not outcome.followed
    assert open_fleet.seen(nonce) == []


@pytest.mark.parametrize("size", [b"ffffffffffffffff", b"8000000000000000", b"7fffffffffffffff", b"40000001"])
def test_a_size_that_is_never_reached_is_refused_or_waited_for(open_fleet: Fleet, size: bytes) -> None:
    nonce = open_fleet.nonce()
    outcome = open_fleet.exchange(chunked_head(open_fleet, nonce) + one_chunk(size, messages.infer_json(nonce, 1.0)))
    assert len(outcome.answers) <= 1
    assert set(outcome.statuses) <= {400, 408, 413}
    assert not outcome.followed
    assert open_fleet.seen(nonce) == []


SERVED_SIZES = {"zeros": b"0000000000%x", "upper case": b"%X"}


@pytest.mark.parametrize("name", SERVED_SIZES)
def test_a_size_said_differently_is_the_same(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    outcome = open_fleet.exchange(
        chunked_head(open_fleet, nonce) + one_chunk(size_of(SERVED_SIZES[name], len(body)), body)
    )
    assert (outcome.statuses, outcome.followed) == ([200], True)


EXTENSIONS = {
    "name": b";a", "value": b";a=b", "quoted": b';a="b c"', "many": b";a=b" * 50, "space before": b" ;a=b",
    "space after": b" ", "tab after": b"\t", "quote left open": b';a="b', "semicolon only": b";",
    "long": b";a=" + b"b" * 60_000, "very long": b";a=" + b"b" * 500_000, "bytes over 127": b";a=\xff",
    "bare LF inside": b";a\nb", "bare CR inside": b";a\rb", "NUL inside": b";a\x00b", "only a bare LF": b"\n",
    "request inside": b";a=GET /v1/perception/smuggled HTTP/1.1",
}  # fmt: skip
_PLAIN_EXTENSIONS = frozenset({"name", "value", "quoted"})


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extensions_are_passed_over_or_refused(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    size = b"%x%b" % (len(body), EXTENSIONS[name])
    outcome = open_fleet.exchange(chunked_head(open_fleet, nonce) + one_chunk(size, body))
    assert len(outcome.answers) <= 1
    assert set(outcome.statuses) <= {200, 400, 413, 431}
    assert outcome.followed == (outcome.statuses == [200])
    assert name not in _PLAIN_EXTENSIONS or outcome.followed
    assert len(open_fleet.seen(nonce)) == outcome.statuses.count(200)


BROKEN_ENDS = {
    "more than the size": b"more\r\n0\r\n\r\n", "no line end": b"0\r\n\r\n", "bare LF": b"\n0\r\n\r\n",
    "bare CR": b"\r0\r\n\r\n", "two line ends": b"\r\n\r\n0\r\n\r\n", "minus zero": b"\r\n-0\r\n\r\n",
    "last chunk with data": b"\r\n0\r\nmore\r\n\r\n", "last chunk, bare LF": b"\r\n0\n\r\n",
    "end by bare LF": b"\r\n0\r\n\n", "end by bare CR": b"\r\n0\r\n\r\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_ENDS)
def test_chunks_that_end_oddly_end_once(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    outcome = open_fleet.exchange(
        chunked_head(open_fleet, nonce) + one_chunk(b"%x" % len(body), body, end=BROKEN_ENDS[name])
    )
    assert outcome.statuses in ([], [200], [400], [200, 400])  # what follows may be refused as no request
    assert outcome.followed <= (outcome.statuses == [200])
    assert len(open_fleet.seen(nonce)) == outcome.statuses.count(200)


@pytest.mark.parametrize("cut", ["no last chunk", "no end of the last", "half a chunk", "half a size", "nothing"])
def test_a_body_that_ends_too_early_is_never_computed(fleet: Fleet, cut: str) -> None:
    nonce = fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    whole = one_chunk(b"%x" % len(body), body)
    kept = {"no last chunk": -5, "no end of the last": -2, "half a chunk": -20, "half a size": 1, "nothing": 0}[cut]
    outcome = fleet.exchange(chunked_head(fleet, nonce) + whole[:kept], follow=False, end=True)
    assert set(outcome.statuses) <= {400, 408}
    assert fleet.seen(nonce) == []


TRAILERS = {
    "length": [b"Content-Length: 3"], "coding": [b"Transfer-Encoding: gzip"], "host": [b"Host: evil.example"],
    "caller": [b"Facet-Caller: radiology"], "token": [b"Facet-Fleet-Token: guessed"], "type": [b"Content-Type: text/x"],
    "key": [b"Authorization: Bearer guessed"], "canary": [b"X-Canary: nonce-ffffffffffff"],
    "connection": [b"Connection: host"],
    "folded": [b"X-A: a\r\n b"], "space before the colon": [b"X-A : a"], "no colon": [b"X-A"], "NUL": [b"X-A: \x00"],
    "request": [b"GET /v1/perception/smuggled HTTP/1.1"], "many": [b"X-%d: a" % one for one in range(300)],
    "long": [b"X-A: " + b"a" * 100_000], "bare LF": [b"X-A: a\nContent-Length: 3"],
}  # fmt: skip


@pytest.mark.parametrize("name", TRAILERS)
def test_trailers_never_become_fields(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    end = b"\r\n0\r\n" + b"\r\n".join([*TRAILERS[name], b"", b""])
    data = chunked_head(open_fleet, nonce, b"Trailer: X-A") + one_chunk(b"%x" % len(body), body, end=end)
    outcome = open_fleet.exchange(data)
    assert len(outcome.answers) <= 1
    assert set(outcome.statuses) <= {200, 400, 431}
    assert outcome.followed <= (outcome.statuses == [200])
    for request in open_fleet.seen(nonce):
        values = {value for _, value in request.fields}
        assert not {"radiology", "guessed", "text/x", "gzip", "evil.example", "nonce-ffffffffffff"} & values


def test_chunks_of_one_byte_are_one_body(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    body = messages.infer_json(nonce, 1.0) + b" " * 4_000
    outcome = fleet.exchange(chunked_head(fleet, nonce) + messages.chunked(body, size=1))
    assert (outcome.statuses, outcome.followed) == ([200], True)
    assert [request.body for request in fleet.seen(nonce)] == [body]


def test_what_follows_the_last_chunk_is_the_next_request(fleet: Fleet) -> None:
    nonces = [fleet.nonce() for _ in range(3)]
    data = b"".join(
        chunked_head(fleet, one) + messages.chunked(messages.infer_json(one, 1.0), size=7) for one in nonces
    )
    outcome = fleet.exchange(data)
    assert (outcome.statuses, outcome.followed) == ([200] * 3, True)
    for nonce, answer in zip(nonces, outcome.answers, strict=True):
        assert nonce.encode() in answer.body
