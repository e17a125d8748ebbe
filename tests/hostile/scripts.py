"""A service that answers well on one path, and on others with whatever a script says, byte by byte."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from tests.hostile.tap import background

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request, whose head is read; the connection goes on if it does not close it."""

PREFIX = "/v1/medical/scripted/"
WELL = f"{PREFIX}well"
"""Answers with the nonce of its query."""

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_TARGET = re.compile(rb"[A-Z]+ (\S+) HTTP/1\.1\r\n")


class ScriptedService:
    """The service.

    Args:
        scripts: by the last part of the path.
    """

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self._scripts = scripts
        self.port = 0

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        """Answer until told to stop."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                await self._answer(reader, writer)
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read = await reader.readuntil(_HEAD_END)
        length = _LENGTH.search(read)
        await reader.readexactly(int(length[1]) if length else 0)
        match = _TARGET.match(read)
        path, _, query = (match[1].decode() if match else "").partition("?")
        script = self._scripts.get(path.removeprefix(PREFIX))
        if path == WELL:
            writer.write(answer(query.encode()))
        elif path == "/v1/models":
            writer.write(answer(b'{"models": []}'))
        elif script is not None:
            await script(reader, writer)
        else:
            writer.write(answer(b"{}", status=b"404 Not Found"))
        await writer.drain()


def answer(body: bytes, *, status: bytes = b"200 OK", fields: bytes = b"") -> bytes:
    """A well-formed answer; `fields` are whole lines with their ends."""
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), fields, body)


@contextmanager
def scripted(scripts: Mapping[str, Script]) -> Iterator[ScriptedService]:
    """The service in a thread of its own."""
    service, started = ScriptedService(scripts), threading.Event()
    with background(service.serve, started):
        yield service
