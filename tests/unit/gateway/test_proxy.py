from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from tests.support.addresses import NO_SERVICE
from tests.support.wires import HttpxWire
from tests.unit.gateway.stubs import ScriptedTransport, StubService, settings

REFUSED = httpx.ConnectError("connection refused to 127.0.0.1")


def client_of(transport: httpx.AsyncBaseTransport, **values: Any) -> httpx.AsyncClient:
    app = create_app(settings(**values), wire=HttpxWire(transport))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.localhost")


async def ask(transport: httpx.AsyncBaseTransport, method: str = "GET", **options: Any) -> httpx.Response:
    async with client_of(transport) as client:
        return await client.request(method, options.pop("path", "/v1/medical/x"), **options)


async def test_path_query_and_body_reach_the_service_unchanged() -> None:
    service = StubService()
    path = "/v1/medical/a%3Fb/c%20d?x=%C3%A9%2F&y=1&x=2"
    answer = await ask(httpx.ASGITransport(service), "POST", path=path, content=b"payload")
    assert answer.status_code == 200
    assert service.scopes[0]["method"] == "POST"
    assert service.scopes[0]["raw_path"] == b"/v1/medical/a%3Fb/c%20d"
    assert service.scopes[0]["query_string"] == b"x=%C3%A9%2F&y=1&x=2"
    assert service.bodies == [b"payload"]


async def test_each_domain_has_its_own_service() -> None:
    transport = ScriptedTransport(httpx.Response(200, content=b"{}"))
    async with client_of(transport, perception_url="http://perception:9000/") as client:
        await client.get("/v1/perception/x")
        transport.outcomes = [httpx.Response(200, content=b"{}")]
        await client.get("/v1/security/x")
    assert [str(request.url) for request in transport.requests] == [
        "http://perception:9000/v1/perception/x",
        f"{NO_SERVICE['security']}/v1/security/x",
    ]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_is_the_services_to_answer(method: str) -> None:
    service = StubService(status=405, headers=[(b"allow", b"GET")])
    answer = await ask(httpx.ASGITransport(service), method)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert service.scopes[0]["method"] == method


async def test_head_is_passed_on_and_answered_without_a_body() -> None:
    service = StubService(headers=[(b"content-length", b"2"), (b"etag", b'"a"')])
    answer = await ask(httpx.ASGITransport(service), "HEAD")
    assert service.scopes[0]["method"] == "HEAD"
    assert (answer.status_code, answer.headers["content-length"], answer.headers["etag"]) == (200, "2", '"a"')
    assert answer.content == b""


async def test_identity_is_one_for_both_hops_and_answered_once() -> None:
    service = StubService(headers=[(b"x-request-id", b"service"), (b"traceparent", b"00-service")])
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    headers = {"X-Request-ID": "mine", "traceparent": trace, "tracestate": "v=1"}
    answer = await ask(httpx.ASGITransport(service), headers=headers)
    assert answer.headers.get_list("x-request-id") == ["mine"]
    assert service.received.get_list("x-request-id") == ["mine"]
    assert service.received["tracestate"] == "v=1"
    (onward,) = service.received.get_list("traceparent")
    assert onward.split("-")[1] == "1" * 32
    assert onward.split("-")[2] != "2" * 16
    assert answer.headers.get_list("traceparent") == [onward]


async def test_the_times_of_the_service_stay_beside_the_gateways() -> None:
    service = StubService(headers=[(b"server-timing", b"pre;dur=1.5, infer;dur=20.0")])
    answer = await ask(httpx.ASGITransport(service))
    theirs, ours = answer.headers.get_list("server-timing")
    assert theirs == "pre;dur=1.5, infer;dur=20.0"
    assert re.fullmatch(r"gateway;dur=\d+\.\d", ours)


async def test_cookies_of_one_caller_do_not_reach_the_next() -> None:
    service = StubService(headers=[(b"set-cookie", b"session=secret; Path=/")])
    transport = httpx.ASGITransport(service)
    async with client_of(transport) as first:
        await first.get("/v1/medical/x")
        first.cookies.clear()
        await first.get("/v1/medical/x")
    assert "cookie" not in service.received


async def test_redirects_are_the_callers_to_follow() -> None:
    service = StubService(status=307, headers=[(b"location", f"{NO_SERVICE['medical']}/v1/medical/y".encode())])
    answer = await ask(httpx.ASGITransport(service))
    assert (answer.status_code, answer.headers["location"]) == (307, "/v1/medical/y")
    assert len(service.scopes) == 1


async def test_compressed_answers_are_passed_on_as_they_are() -> None:
    body = b"\x1f\x8b not really gzip"
    service = StubService(headers=[(b"content-encoding", b"gzip")], body=body)
    app = create_app(settings(), wire=HttpxWire(httpx.ASGITransport(service)))
    transport = httpx.ASGITransport(app)
    request = httpx.Request("GET", "http://facet.localhost/v1/medical/x")
    answer = await transport.handle_async_request(request)
    assert answer.headers["content-encoding"] == "gzip"
    assert b"".join([part async for part in answer.stream]) == body  # type: ignore[union-attr]


async def raw_status(service: StubService, *, path: str, raw_path: bytes, query: bytes = b"") -> int:
    """Status of an answer to an address that no honest client would send."""
    app = create_app(settings(), wire=HttpxWire(httpx.ASGITransport(service)))
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": path, "raw_path": raw_path, "query_string": query,
        "headers": [(b"host", b"facet.localhost")], "scheme": "http", "client": None,
        "server": ("facet.example", 80), "root_path": "",
        "http_version": "1.1", "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip
    await app(scope, receive, send)
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize("path", ["/v1/medical/../../metrics", "/v1/medical/%2e%2e/%2E%2E/metrics", "/v1/medical/./x"])
async def test_dots_do_not_lead_out_of_the_domain(path: str) -> None:
    service = StubService()
    decoded = path.replace("%2e", ".").replace("%2E", ".")
    assert await raw_status(service, path=decoded, raw_path=path.encode()) == 404
    assert service.scopes == []


@pytest.mark.parametrize(("raw_path", "query"), [(b"/v1/medical/\xff", b""), (b"/v1/medical/x", b"q=\xe9")])
async def test_an_address_with_raw_bytes_is_the_callers_fault(raw_path: bytes, query: bytes) -> None:
    assert await raw_status(StubService(), path="/v1/medical/x", raw_path=raw_path, query=query) == 400


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (REFUSED, 503, "medical service cannot be reached"),
        (httpx.ConnectTimeout("slow"), 503, "medical service cannot be reached"),
        (httpx.PoolTimeout("full"), 503, "in flight"),
        (httpx.ReadTimeout("slow"), 504, "medical service did not answer in time"),
        (httpx.WriteTimeout("slow"), 504, "medical service did not answer in time"),
        (httpx.RemoteProtocolError("garbage"), 502, "medical service broke off"),
        (httpx.ReadError("reset"), 502, "medical service broke off"),
    ],
)
async def test_failures_are_problems_that_name_the_service(error: Exception, status: int, words: str) -> None:
    answer = await ask(ScriptedTransport(error), "POST", content=b"x", headers={"X-Request-ID": "mine"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert words in problem["detail"]
    assert "127.0.0.1" not in answer.text
    assert (problem["instance"], problem["request_id"]) == ("/v1/medical/x", "mine")
    assert ("retry-after" in answer.headers) is (status == 503)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_a_failed_connection_is_tried_once_more_for_idempotent_requests(method: str) -> None:
    transport = ScriptedTransport(REFUSED, httpx.Response(200, content=b"{}"))
    assert (await ask(transport, method)).status_code == 200
    assert len(transport.requests) == 2


async def test_and_no_more_than_once() -> None:
    transport = ScriptedTransport(REFUSED)
    assert (await ask(transport)).status_code == 503
    assert len(transport.requests) == 2


@pytest.mark.parametrize(
    ("method", "content", "error"),
    [
        ("POST", None, REFUSED),
        ("PATCH", None, REFUSED),
        ("PUT", b"body", REFUSED),
        ("GET", None, httpx.ReadError("reset")),
        ("GET", None, httpx.ReadTimeout("slow")),
    ],
)
async def test_nothing_else_is_repeated(method: str, content: bytes | None, error: Exception) -> None:
    transport = ScriptedTransport(error, httpx.Response(200, content=b"{}"))
    assert (await ask(transport, method, content=content)).status_code >= 502
    assert len(transport.requests) == 1


async def test_a_body_over_the_limit_is_refused_before_the_service_hears_of_it() -> None:
    service = StubService()
    async with client_of(httpx.ASGITransport(service), upload_limit_bytes=10) as client:
        answer = await client.post("/v1/medical/x", content=b"x" * 11)
    assert answer.status_code == 413
    assert service.scopes == []


async def test_a_chunked_body_that_grows_over_the_limit_is_413_and_not_502() -> None:
    service = StubService()

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 5

    async with client_of(httpx.ASGITransport(service), upload_limit_bytes=10) as client:
        answer = await client.post("/v1/medical/x", content=parts())
    assert answer.status_code == 413
    assert answer.json()["type"] == "/problems/content-too-large"
    assert service.bodies == []


async def test_an_unknown_domain_is_answered_with_the_known_ones() -> None:
    answer = await ask(ScriptedTransport(REFUSED), path="/v1/astrology/x")
    assert answer.status_code == 404
    for place in ("/v1/medical/", "/v1/perception/", "/v1/jobs/", "/v1/models/"):
        assert place in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/medical", "/v1/jobs/", "/nowhere", "/v2/models"])
async def test_other_unknown_addresses_are_problems(path: str) -> None:
    answer = await ask(ScriptedTransport(REFUSED), path=path)
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/not-found"


async def test_a_wrong_method_on_the_gateways_own_routes_is_405() -> None:
    answer = await ask(ScriptedTransport(REFUSED), "PUT", path="/v1/jobs")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_metrics_know_a_proxied_request_by_its_template() -> None:
    async with client_of(httpx.ASGITransport(StubService())) as client:
        await client.get("/v1/medical/some/thing/123")
        metrics = (await client.get("/metrics")).text
    assert 'route="/v1/medical/{path:path}",status="200"' in metrics
    assert "123" not in metrics.partition("facet_http_requests_total")[2].partition("\n")[0]
