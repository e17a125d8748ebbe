"""Servers that say exactly these bytes, and requests of the wire to them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable

from gateway.request_bodies.reader import NO_BODY, RequestBody
from gateway.upstream.aiohttp_transport import AiohttpTransport
from gateway.upstream.transport import RawHeaders, UpstreamRequest, UpstreamResponse
from tests.integration.gateway.servers import Handler

Serve = Callable[[Handler], str]
"""Serves a handler until the end of the test; returns the URL."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def onward(
    url: str,
    method: str = "GET",
    *,
    body: RequestBody = NO_BODY,
    headers: RawHeaders = (),
    connect_s: float = 5.0,
    answer_s: float = 5.0,
) -> UpstreamRequest:
    host = (b"Host", url.partition("://")[2].encode())
    return UpstreamRequest(method, url, "/x", [host, *headers], body, connect_s, answer_s)


def on_disk(content: bytes) -> RequestBody:
    """A body that was too large for memory; to be closed."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the body
    file.write(content)
    file.flush()
    return RequestBody(b"", file, len(content))


async def ask(wire: AiohttpTransport, request: UpstreamRequest) -> tuple[UpstreamResponse, bytes]:
    """The whole answer."""
    reply = await wire.open(request)
    try:
        return reply, b"".join([part async for part in reply.parts()])
    finally:
        await reply.close()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """The body behind a head; it has a Content-Length, as every body of the gateway's."""
    assert b"transfer-encoding" not in head.lower()
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    assert len(lengths) <= 1
    return await reader.readexactly(int(lengths[0])) if lengths else b""


def saying(*parts: bytes, hang: bool = False, keep: bool = False) -> Handler:
    """Answers every request on a connection with these bytes; then closes it, hangs, or keeps it for the next."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await read_head(reader)
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                if hang:
                    await asyncio.sleep(60)
                if not keep:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    return handler


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
