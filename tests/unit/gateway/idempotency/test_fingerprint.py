"""Two requests are the same one if nothing that shapes the answer differs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.idempotency.fingerprint import fingerprint

BOUNDARY = "b-7f3a"


def scope(**changes: Any) -> dict[str, Any]:
    """A request; headers by name."""
    headers = {"content-type": "application/json"} | changes.pop("headers", {})
    raw = [(name.encode(), value.encode()) for name, value in headers.items() if value is not None]
    return {"type": "http", "method": "POST", "path": "/v1/things", "query_string": b"", "headers": raw} | changes


def multipart(parts: list[tuple[str, bytes]], boundary: str = BOUNDARY) -> tuple[dict[str, Any], bytes]:
    """A form of files, written with a boundary."""
    body = b"".join(
        b"--%b\r\nContent-Disposition: form-data; name=%b; filename=a\r\n\r\n%b\r\n"
        % (boundary.encode(), name.encode(), content)
        for name, content in parts
    )
    kind = f'multipart/form-data; boundary="{boundary}"'
    return scope(headers={"content-type": kind}), body + b"--%b--\r\n" % boundary.encode()


forms = st.lists(st.tuples(st.sampled_from(["file", "reference", "top"]), st.binary(max_size=60)), max_size=4)


@given(forms, st.from_regex(r"[A-Za-z0-9'()+_,./:=?-]{20,60}", fullmatch=True))
def test_the_boundary_does_not_count(parts: list[tuple[str, bytes]], boundary: str) -> None:
    assume(not any(mark.encode() in content for _, content in parts for mark in (boundary, BOUNDARY)))
    assert fingerprint(*multipart(parts)) == fingerprint(*multipart(parts, boundary))


@given(forms, forms)
def test_parts_count(first: list[tuple[str, bytes]], second: list[tuple[str, bytes]]) -> None:
    assume(not any(BOUNDARY.encode() in content for _, content in first + second))
    assert (fingerprint(*multipart(first)) == fingerprint(*multipart(second))) == (first == second)


@given(st.binary(max_size=200), st.data())
def test_every_byte_counts(body: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(body)))
    longer = body[:position] + data.draw(st.binary(min_size=1, max_size=3)) + body[position:]
    assert fingerprint(scope(), body) != fingerprint(scope(), longer)
    assert fingerprint(scope(), body) == fingerprint(scope(), bytes(bytearray(body)))


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "/v1/thing"},
        {"query_string": b"a=1"},
        {"headers": {"accept": "image/png"}},
        {"headers": {"prefer": "respond-async"}},
        {"headers": {"content-type": "text/plain"}},
        {"headers": {"content-type": "application/json; charset=latin-1"}},
    ],
)
def test_what_shapes_the_answer_counts(changes: dict[str, Any]) -> None:
    assert fingerprint(scope(), b"{}") != fingerprint(scope(**changes), b"{}")


def test_what_does_not_is_left_out() -> None:
    other = scope(headers={"user-agent": "another", "x-request-id": "another", "traceparent": "another"})
    assert fingerprint(scope(), b"{}") == fingerprint(other, b"{}")
