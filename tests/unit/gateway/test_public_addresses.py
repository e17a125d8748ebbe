from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway.app import create_app
from tests.support.wires import HttpxWire
from tests.unit.gateway.stubs import StubService, settings

LOCATIONS = [
    (b"location", b"/v1/jobs/1"),
    (b"content-location", b"/v1/jobs/1"),
    (b"link", b'</v1/jobs?cursor=a>; rel="next", <https://example.org/x>; rel="help", <//other.example/y>; rel="up"'),
]


def client_of(service: StubService, *, peer: str = "127.0.0.1", **values: Any) -> httpx.AsyncClient:
    app = create_app(settings(**values), wire=HttpxWire(httpx.ASGITransport(service)))
    transport = httpx.ASGITransport(app, client=(peer, 5000))
    return httpx.AsyncClient(transport=transport, base_url="http://facet.localhost")


def addresses(answer: httpx.Response) -> list[str]:
    return [answer.headers["location"], answer.headers["content-location"], answer.headers["link"]]


PLAIN = [LOCATIONS[0][1].decode(), LOCATIONS[1][1].decode(), LOCATIONS[2][1].decode()]
BELOW = [
    "/way/v1/jobs/1",
    "/way/v1/jobs/1",
    '</way/v1/jobs?cursor=a>; rel="next", <https://example.org/x>; rel="help", <//other.example/y>; rel="up"',
]


@pytest.mark.parametrize(
    ("values", "headers", "path"),
    [
        ({"public_url": "https://example.org/way"}, {}, "/v1/medical/x"),
        ({"public_url": "https://example.org/way/"}, {}, "/way/v1/medical/x"),
        ({}, {"X-Forwarded-Prefix": "/way"}, "/v1/medical/x"),
        ({}, {"X-Forwarded-Prefix": "/way/"}, "/way/v1/medical/x"),
        ({"public_url": "https://example.org/other"}, {"X-Forwarded-Prefix": "/way"}, "/v1/medical/x"),
    ],
)
async def test_a_prefix_reaches_header_fields_and_the_service(
    values: dict[str, str], headers: dict[str, str], path: str
) -> None:
    service = StubService(headers=LOCATIONS)
    async with client_of(service, **values) as client:
        answer = await client.get(path, headers=headers)
    assert (answer.status_code, addresses(answer)) == (200, BELOW)
    assert service.scopes[0]["raw_path"] == b"/v1/medical/x"
    assert service.received["x-forwarded-prefix"] == "/way"


@pytest.mark.parametrize(
    "given", ["//evil.example", "https://evil.example", "/a/../b", "/a b", "/a\\b", "evil", "/%2e"]
)
async def test_what_is_no_prefix_counts_as_not_said(given: str) -> None:
    service = StubService(headers=LOCATIONS)
    async with client_of(service) as client:
        answer = await client.get("/v1/medical/x", headers={"X-Forwarded-Prefix": given})
    assert addresses(answer) == PLAIN
    assert "x-forwarded-prefix" not in service.received


async def test_only_trusted_proxies_are_believed() -> None:
    service = StubService(headers=LOCATIONS)
    given = {"X-Forwarded-Prefix": "/way", "X-Forwarded-For": "198.51.100.1", "X-Forwarded-Proto": "https"}
    async with client_of(service, peer="203.0.113.9") as client:
        assert addresses(await client.get("/v1/medical/x", headers=given)) == PLAIN
    assert service.received["x-forwarded-for"] == "203.0.113.9"
    assert service.received["x-forwarded-proto"] == "http"
    async with client_of(service, peer="203.0.113.9", trusted_proxies="203.0.113.0/24") as client:
        assert addresses(await client.get("/v1/medical/x", headers=given)) == BELOW
    assert service.received["x-forwarded-for"] == "198.51.100.1"
    assert service.received["x-forwarded-proto"] == "https"
    async with client_of(service, trusted_proxies="") as client:
        assert addresses(await client.get("/v1/medical/x", headers=given)) == PLAIN


async def test_a_prefix_that_looks_like_a_route_is_put_before_and_not_taken_away() -> None:
    service = StubService(headers=[(b"location", b"/v1/jobs/1")])
    async with client_of(service, public_url="https://example.org/v1") as client:
        answer = await client.get("/v1/medical/x")
    assert (answer.status_code, answer.headers["location"]) == (200, "/v1/v1/jobs/1")


async def test_paths_that_only_begin_alike_are_not_below_it() -> None:
    async with client_of(StubService(), public_url="https://example.org/way") as client:
        assert (await client.get("/wayward/v1/medical/x")).status_code == 404
        assert (await client.get("/way")).status_code == 200
        assert (await client.get("/%77ay/v1/medical/x")).status_code == 404


async def test_the_gateways_own_answers_name_paths_below_it() -> None:
    async with client_of(StubService(), public_url="https://example.org/way") as client:
        index = (await client.get("/")).json()
        page = await client.get("/", headers={"Accept": "text/html"})
        document = (await client.get("/way/openapi.json")).json()
        missing = await client.get("/v1/nowhere")
    assert {index[name] for name in ("documentation", "openapi", "jobs")} == {
        "/way/docs",
        "/way/openapi.json",
        "/way/v1/jobs",
    }
    assert page.headers["location"] == "/way/docs"
    assert document["servers"][0]["url"] == "/way"
    assert missing.json()["instance"] == "/way/v1/nowhere"


async def test_editions_of_the_document_are_told_apart() -> None:
    async with client_of(StubService()) as client:
        plain = await client.get("/openapi.json")
        below = await client.get("/openapi.json", headers={"X-Forwarded-Prefix": "/way"})
        again = await client.get("/openapi.json", headers={"If-None-Match": plain.headers["etag"]})
    assert (plain.json()["servers"][0]["url"], below.json()["servers"][0]["url"]) == ("/", "/way")
    assert plain.headers["etag"] != below.headers["etag"]
    assert again.status_code == 304
