from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway.edge.compression import Compression, accepts_gzip

BODY = json.dumps([{"number": number} for number in range(500)]).encode()


def client_of(headers: dict[str, str], body: bytes = BODY, *, streamed: bool = False) -> httpx.AsyncClient:
    async def answer(_: Request) -> Response:
        if streamed:

            async def parts() -> Any:
                for start in range(0, len(body), 1000):
                    yield body[start : start + 1000]

            return StreamingResponse(parts(), headers=headers)
        return Response(body, headers=headers)

    app = Compression(Starlette(routes=[Route("/", answer)]))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.example")


async def encoding_of(client: httpx.AsyncClient, accept: str = "gzip, deflate") -> httpx.Response:
    async with client, client.stream("GET", "/", headers={"Accept-Encoding": accept}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    coded = answer.headers.get("content-encoding") == "gzip"
    assert (gzip.decompress(raw) if coded else raw) == BODY or len(raw) < 1024
    assert not coded or len(raw) < len(BODY) / 3
    return answer


@pytest.mark.parametrize(
    "kind", ["application/json", "application/problem+json", "text/csv; charset=utf-8", "text/plain"]
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_json_and_text_are_compressed_for_those_who_take_it(kind: str, streamed: bool) -> None:
    headers = {"Content-Type": kind, "ETag": '"a"', "Vary": "Prefer"}
    answer = await encoding_of(client_of(headers, streamed=streamed))
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["etag"] == 'W/"a"'
    assert {"prefer", "accept-encoding"} <= {name.strip().lower() for name in answer.headers["vary"].split(",")}
    plain = await encoding_of(client_of(headers, streamed=streamed), accept="identity")
    assert "content-encoding" not in plain.headers
    assert plain.headers["etag"] == '"a"'
    assert "accept-encoding" in plain.headers["vary"].lower()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/event-stream"}, {"Content-Type": "image/png"}, {"Content-Type": "image/svg+xml"},
        {"Content-Type": "application/x-npy"},
        {"Content-Type": "application/dicom"}, {"Content-Type": "application/zip"},
        {"Content-Type": "application/octet-stream"}, {"Content-Type": "application/x-onnx"}, {},
        {"Content-Type": "application/json", "Accept-Ranges": "bytes"},
    ],
)  # fmt: skip
async def test_everything_else_is_left_alone(headers: dict[str, str]) -> None:
    answer = await encoding_of(client_of(headers | {"ETag": '"a"'}))
    assert "content-encoding" not in answer.headers
    assert answer.headers["etag"] == '"a"'


async def test_short_answers_are_not_worth_it() -> None:
    answer = await encoding_of(client_of({"Content-Type": "application/json"}, b"{}" * 500))
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("given", "takes"),
    [
        ("gzip", True), ("GZIP;q=0.5, br", True), ("x-gzip", True), ("*", True), ("deflate, *;q=0.1", True),
        ("", False),
        ("gzip;q=0", False), ("gzip;q=0, *", False), ("*;q=0", False), ("br, deflate", False), ("gzip;q=much", False),
        ("identity", False),
    ],
)  # fmt: skip
def test_accept_encoding_is_read_with_its_qualities(given: str, takes: bool) -> None:
    assert accepts_gzip(given) is takes
