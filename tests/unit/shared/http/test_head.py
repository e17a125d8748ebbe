from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import FileResponse, StreamingResponse
from starlette.types import Message, Scope

from shared.http.application import create_application
from shared.settings import Settings

router = APIRouter()
stopped = asyncio.Event()


@router.get("/thing")
async def read_thing() -> dict[str, str]:
    return {"name": "a thing"}


@router.get("/endless")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
                await asyncio.sleep(0)
        finally:
            stopped.set()

    return StreamingResponse(parts(), media_type="text/event-stream")


@router.get("/file")
async def read_file() -> FileResponse:
    return FileResponse(__file__)


@router.get("/seen")
async def tell_method(request: Request) -> str:
    return request.method


@router.post("/posted")
async def post() -> None: ...


@pytest.fixture
def app() -> FastAPI:
    return create_application(
        process="test", title="Test", description="-", settings=Settings(_env_file=None), routers=[router]
    )


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.example") as client:
        yield client


@pytest.mark.parametrize("path", ["/thing", "/health/live", "/health/ready", "/openapi.json", "/metrics", "/file"])
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    own = {"x-request-id", "traceparent", "server-timing", "content-length"}
    assert head.status_code == got.status_code == 200
    assert {name: value for name, value in head.headers.items() if name not in own} == {
        name: value for name, value in got.headers.items() if name not in own
    }
    assert path == "/metrics" or head.headers["content-length"] == got.headers["content-length"]
    assert head.content == b""


async def test_a_stream_ends_at_once(client: httpx.AsyncClient) -> None:
    stopped.clear()
    async with asyncio.timeout(5):
        answer = await client.head("/endless")
        await stopped.wait()
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_what_only_posts_is_405(client: httpx.AsyncClient) -> None:
    answer = await client.head("/posted")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")


async def test_range_means_nothing_to_head(client: httpx.AsyncClient) -> None:
    assert (await client.get("/file", headers={"Range": "bytes=0-3"})).status_code == 206
    answer = await client.head("/file", headers={"Range": "bytes=0-3"})
    assert (answer.status_code, "content-range" in answer.headers) == (200, False)


async def test_metrics_know_the_route_and_that_it_was_head(client: httpx.AsyncClient) -> None:
    await client.head("/thing")
    lines = (await client.get("/metrics")).text.splitlines()
    (line,) = [line for line in lines if line.startswith("facet_http_requests_total") and 'route="/thing"' in line]
    assert 'method="HEAD"' in line


async def test_the_server_sees_one_start_and_one_end(app: FastAPI) -> None:
    sent: list[Message] = []

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http", "method": "HEAD", "path": "/endless", "raw_path": b"/endless", "query_string": b"",
        "headers": [(b"host", b"facet.example")], "scheme": "http", "client": None, "server": ("facet.example", 80),
        "root_path": "", "http_version": "1.1", "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip
    async with asyncio.timeout(5):
        await app(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert not sent[1]["more_body"]
    assert scope["method"] == "HEAD"
