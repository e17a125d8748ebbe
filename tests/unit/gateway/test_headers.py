from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway.upstream.headers import client_response_headers, onward_headers
from shared.request_context import RequestContext

CONTEXT = RequestContext("request-1", "a" * 32, "b" * 16, "01", "vendor=1")


def scope(*headers: tuple[str, str], client: str | None = "203.0.113.7", scheme: str = "https") -> dict[str, Any]:
    return {
        "type": "http",
        "scheme": scheme,
        "client": (client, 1234) if client else None,
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
    }


def onward(*headers: tuple[str, str], **changes: Any) -> httpx.Headers:
    return httpx.Headers(onward_headers(scope(*headers, **changes), host=b"medical:8101", context=CONTEXT))


FRAMING = {"content-length", "content-encoding", "transfer-encoding", "host"}


@pytest.mark.parametrize("name", sorted(FRAMING))
def test_what_frames_the_body_is_written_by_who_writes_the_body(name: str) -> None:
    found = onward((name, "7"), ("connection", name), ("content-type", "image/png"))
    assert FRAMING & set(found) == {"host"}
    assert found["content-type"] == "image/png"


def test_hop_by_hop_fields_stay_behind() -> None:
    found = onward(
        ("connection", "close, X-Secret"), ("x-secret", "1"), ("keep-alive", "5"), ("te", "trailers"),
        ("upgrade", "websocket"), ("proxy-authorization", "x"), ("expect", "100-continue"), ("accept", "image/png"),
    )  # fmt: skip
    assert set(found) == {
        "host", "accept", "x-forwarded-proto", "x-forwarded-for", "forwarded", "x-request-id", "traceparent",
        "tracestate", "facet-caller",
    }  # fmt: skip


def test_the_service_is_addressed_by_its_own_host() -> None:
    found = onward(("host", "facet.example"))
    assert found.get_list("host") == ["medical:8101"]
    assert found["x-forwarded-host"] == "facet.example"


def test_a_strangers_word_on_where_it_comes_from_is_replaced() -> None:
    found = onward(
        ("host", "facet.example"), ("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1"),
        ("x-forwarded-proto", "gopher"), ("x-real-ip", "10.0.0.1"),
    )  # fmt: skip
    assert found.get_list("x-forwarded-for") == ["203.0.113.7"]
    assert found.get_list("x-forwarded-proto") == ["https"]
    assert found.get_list("forwarded") == ['for="203.0.113.7";proto=https;host="facet.example"']
    assert "x-real-ip" not in found


def test_addresses_of_version_6_are_bracketed_in_forwarded() -> None:
    assert onward(client="2001:db8::1")["forwarded"] == 'for="[2001:db8::1]";proto=https'


def test_a_caller_without_address_is_left_out() -> None:
    found = onward(client=None)
    assert "x-forwarded-for" not in found
    assert found["forwarded"] == "proto=https"


def test_identity_is_the_gateways() -> None:
    found = onward(("x-request-id", "caller's"), ("traceparent", "00-x"), ("tracestate", "old=1"))
    assert found.get_list("x-request-id") == ["request-1"]
    assert found.get_list("traceparent") == [CONTEXT.traceparent]
    assert found.get_list("tracestate") == ["vendor=1"]


def test_repeated_fields_stay_repeated() -> None:
    assert onward(("prefer", "wait=1"), ("prefer", "respond-async")).get_list("prefer") == ["wait=1", "respond-async"]


def answer(*headers: tuple[str, str]) -> httpx.Headers:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return httpx.Headers(client_response_headers(raw, base=b"http://127.0.0.1:8101"))


def test_what_the_service_says_to_the_caller_is_kept() -> None:
    given = [
        ("server-timing", "infer;dur=3"), ("link", "<a>; rel=next"), ("location", "/v1/jobs/1"), ("etag", '"1"'),
        ("content-length", "4"), ("set-cookie", "a=1"), ("set-cookie", "b=2"),
    ]  # fmt: skip
    assert answer(*given).multi_items() == given


def test_what_belongs_to_the_connection_or_the_server_is_not() -> None:
    found = answer(
        ("Transfer-Encoding", "chunked"), ("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("Date", "now"),
        ("Server", "uvicorn"), ("Trailer", "x"), ("Keep-Alive", "5"),
    )  # fmt: skip
    assert list(found) == []


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://127.0.0.1:8101/v1/medical/x?a=1", "/v1/medical/x?a=1"),
        ("/v1/jobs/1", "/v1/jobs/1"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        ("http://127.0.0.1:81015/x", "http://127.0.0.1:81015/x"),
    ],
)
def test_the_services_own_address_is_not_told(location: str, expected: str) -> None:
    assert answer(("location", location))["location"] == expected
