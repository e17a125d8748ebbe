"""Heads that are refused before anything else is asked, each with its problem."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.edge.heads import check_head
from shared.problems import BadRequest, HeadersTooLarge, NotFound, NotImplementedHere, Problem
from shared.settings import Settings
from tests.unit.gateway.edge.channels import scope_of


def check(*headers: tuple[str, str], raw: bytes = b"/x", query: bytes = b"", **changes: Any) -> None:
    limits = {name: changes.pop(name) for name in ("head_limit_bytes", "head_fields_limit") if name in changes}
    scope: dict[str, Any] = {**scope_of(*headers), "path": "/x", "raw_path": raw, "query_string": query, **changes}
    check_head(scope, Settings(_env_file=None, **limits))


def test_ordinary_heads_pass() -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        check(("Host", "a"), ("Transfer-Encoding", " Chunked "), method=method)
    check(raw=b"/v1/a%20b/%C3%A9", query=b"x=%2F..&y=%00", path="/v1/a b/é")
    check(path="/.well-known/..x/x..", raw=b"/.well-known/..x/x..")


def test_every_byte_of_the_head_counts() -> None:
    name, value = "X-Name", "v" * 500
    size = len("/x") + len(name) + len(value) + 4
    limit = 1024
    check((name, value + "v" * (limit - size)), head_limit_bytes=limit)
    for headers, changes in (
        ([(name, value + "v" * (limit - size + 1))], {}),
        ([(name, value)], {"raw": b"/" + b"x" * limit}),
        ([(name, value)], {"query": b"q" * limit}),
        ([("N" * limit, "")], {}),
        ([("a", "")] * 300, {"head_fields_limit": 100}),
    ):
        with pytest.raises(HeadersTooLarge) as caught:
            check(*headers, head_limit_bytes=limit, **changes)
        assert caught.value.status == 431
        assert caught.value.headers["Connection"] == "close"


def test_the_number_of_fields_counts() -> None:
    check(*[("a", "b")] * 100)
    with pytest.raises(HeadersTooLarge, match="101 fields"):
        check(*[("a", "b")] * 101)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "BREW", "PRI", ""])
def test_unknown_methods(method: str) -> None:
    with pytest.raises(NotImplementedHere):
        check(method=method)


@pytest.mark.parametrize("coding", ["gzip, chunked", "chunked, chunked", "identity", "", "xchunked", "gzip"])
def test_unknown_transfer_codings_are_refused_and_their_connection_closed(coding: str) -> None:
    with pytest.raises(NotImplementedHere) as caught:
        check(("Transfer-Encoding", coding))
    assert caught.value.headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"raw": b"/v1/a%2fb"}, NotFound),
        ({"raw": b"/v1/a%2Fb"}, NotFound),
        ({"raw": b"/v1/a%5Cb"}, NotFound),
        ({"raw": b"/v1/a%00"}, NotFound),
        ({"path": "/v1/../x"}, NotFound),
        ({"path": "/v1/./x"}, NotFound),
        ({"path": "/v1/.."}, NotFound),
        ({"path": "/.", "raw": b"/%2e"}, NotFound),
        ({"raw": b"/a b"}, BadRequest),
        ({"raw": b"/a#b"}, BadRequest),
        ({"raw": b"/\xe9"}, BadRequest),
        ({"query": b"\xff"}, BadRequest),
        ({"query": b"a b"}, BadRequest),
    ],
)
def test_addresses_that_two_parties_could_read_differently(changes: dict[str, Any], problem: type[Problem]) -> None:
    with pytest.raises(problem):
        check(**changes)


def test_a_server_that_gives_no_raw_path() -> None:
    check(path="/x", raw=b"")
    with pytest.raises(BadRequest):
        check(path="/é", raw=b"")
