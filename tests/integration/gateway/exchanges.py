"""Servers that say exactly these bytes, and requests of the wire to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from gateway.sockets import Sockets
from gateway.wire import Body, Onward, RawHeaders, Reply
from tests.integration.gateway.servers import Handler

Serve = Callable[[Handler], str]
"""Serves a handler until the end of the test; returns the URL."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED: RawHeaders = [(b"Transfer-Encoding", b"chunked")]


def onward(
    url: str,
    method: str = "GET",
    *,
    body: Body | None = None,
    headers: RawHeaders = (),
    connect_s: float = 5.0,
    answer_s: float = 5.0,
) -> Onward:
    framing = [(b"Content-Length", str(len(body)).encode())] if isinstance(body, bytes) else []
    framing = list(CHUNKED) if body is not None and not isinstance(body, bytes) else framing
    host = (b"Host", url.partition("://")[2].encode())
    return Onward(method, url, "/x", [host, *framing, *headers], body, connect_s, answer_s)


async def ask(wire: Sockets, request: Onward) -> tuple[Reply, bytes]:
    """The whole answer."""
    reply = await wire.open(request)
    try:
        return reply, b"".join([part async for part in reply.parts()])
    finally:
        await reply.close()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def read_chunked(reader: asyncio.StreamReader) -> bytes:
    content = b""
    while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
        content += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return content


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


async def parts_of(*parts: bytes, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(pause_s)
        yield part


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
