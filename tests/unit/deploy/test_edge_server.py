"""The server of the edge as it starts and stops, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.edge_server import bind, serve_until
from shared.http.middleware import Telemetry
from shared.settings import Settings
from shared.telemetry.lines import RequestLines
from shared.telemetry.metrics import HttpMetrics

SETTINGS = Settings(_env_file=None, gateway_port=0)


class Application:
    """Answers with a part, and then another as long as it is let; notes its own start and stop."""

    def __init__(self, *, starts: bool = True, parts: int = 10**9) -> None:
        self.noted: list[str] = []
        self._starts, self._parts = starts, parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self._parts):
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _live(self, receive: Receive, send: Send) -> None:
        for event in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{event}"
            self.noted.append(event)
            outcome = "complete" if self._starts else "failed"
            await send({"type": f"lifespan.{event}.{outcome}"})


async def stopped_while(application: ASGIApp, work: Callable[[int], Awaitable[None]], *, grace_s: float) -> bool:
    """Serve, do something over the port, and stop; returns what `serve_until` says."""
    stop, listener = asyncio.Event(), bind(SETTINGS)
    port: int = listener.getsockname()[1]
    listener.listen()
    serving = asyncio.create_task(serve_until(stop, application, SETTINGS, listener, grace_s=grace_s))
    await work(port)
    stop.set()
    async with asyncio.timeout(10):
        return await serving


@asynccontextmanager
async def connections(count: int) -> AsyncIterator[tuple[list[asyncio.StreamReader], Callable[[int], Awaitable[None]]]]:
    """Readers of answers that have begun, once the function is called that asks."""
    readers: list[asyncio.StreamReader] = []
    writers: list[asyncio.StreamWriter] = []

    async def ask(port: int) -> None:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            readers.append(reader)
            writers.append(writer)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"part")

    yield readers, ask
    for writer in writers:
        writer.close()


async def test_an_answer_without_end_does_not_keep_the_application_from_its_shutdown() -> None:
    application = Application()
    async with connections(5) as (readers, ask):
        assert await stopped_while(application, ask, grace_s=0.2)
        for reader in readers:
            assert not (await reader.read()).endswith(b"0\r\n\r\n"), "what was broken off passes for whole"
    assert application.noted == ["startup", "shutdown"]


async def test_an_answer_under_way_gets_its_time_to_end() -> None:
    application = Application(parts=15)
    async with connections(1) as (readers, ask):
        assert await stopped_while(application, ask, grace_s=10)
        rest = await readers[0].read()
    assert rest.count(b"part") == 14
    assert rest.endswith(b"0\r\n\r\n")
    assert application.noted == ["startup", "shutdown"]


async def test_an_application_that_does_not_start() -> None:
    listener = bind(SETTINGS)
    port = listener.getsockname()[1]
    application = Application(starts=False)
    assert not await serve_until(asyncio.Event(), application, SETTINGS, listener, grace_s=1)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("begun", [False, True], ids=["before the head", "before the first part"])
async def test_an_error_without_a_part_of_the_answer_is_a_problem(begun: bool) -> None:
    """By itself the server answers it with a bare 500."""

    class Failing(Application):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and begun:
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
            if scope["type"] == "http":
                raise RuntimeError("secret")
            await super().__call__(scope, receive, send)

    answers: list[httpx.Response] = []

    async def ask(port: int) -> None:
        async with httpx.AsyncClient() as client:
            answers.append(await client.get(f"http://127.0.0.1:{port}/"))

    lines = RequestLines("test", write=lambda _: None)
    application = Telemetry(Failing(), metrics=HttpMetrics("test"), lines=lines)
    assert await stopped_while(application, ask, grace_s=1)
    assert (answers[0].status_code, answers[0].headers["content-type"]) == (500, "application/problem+json")
    assert answers[0].json()["status"] == 500
    assert "secret" not in answers[0].text
