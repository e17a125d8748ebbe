"""A recording tap between the gateway and a service: copies bytes, and reads every request that reaches the service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.hostile.framing import FramingError, Request, StrictReader

_PIECE_BYTES = 1 << 18

Serve = Callable[[threading.Event, asyncio.Event], Awaitable[None]]
"""Sets the first when it listens, and goes on until the second is set."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something reached the service that is not one well-framed request after the other."""

    text: str


class _Link:
    """One connection of the gateway to the service.

    Args:
        seen: where to note what is read.
    """

    def __init__(self, seen: list[Request | Fault]) -> None:
        self._seen = seen
        self._reader = StrictReader(seen.append)
        self._broken = False

    def note(self, data: bytes) -> None:
        """Bytes of the gateway."""
        if self._broken:
            return
        try:
            self._reader.feed(data)
        except FramingError as error:
            self._broken = True
            self._seen.append(Fault(f"{error}; the last bytes were {data[-300:]!r}"))

    def unfinished(self) -> bool:
        return self._reader.unfinished and not self._broken


class Tap:
    """The proxy.

    Args:
        service_port: where the service is.
    """

    def __init__(self, service_port: int) -> None:
        self._service_port = service_port
        self._seen: list[Request | Fault] = []
        self._links: dict[_Link, None] = {}
        self.port = 0

    def mark(self) -> int:
        """A place in what was seen."""
        return len(self._seen)

    def since(self, mark: int) -> list[Request | Fault]:
        """What reached the service since then, in the order of its end."""
        return self._seen[mark:]

    def unfinished(self) -> int:
        """Open connections on which half a request was sent."""
        return sum(link.unfinished() for link in list(self._links))

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        """Copy until told to stop."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self._seen)
        self._links[link] = None
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._service_port)
            copies = (self._copy(reader, back_writer, link), self._copy(back_reader, writer, None))
            await asyncio.gather(*copies)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._links.pop(link)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link | None) -> None:
        with suppress(OSError):
            while data := await reader.read(_PIECE_BYTES):
                if link is not None:
                    link.note(data)
                writer.write(data)
                await writer.drain()
        writer.close()


@contextmanager
def tapped(service_port: int) -> Iterator[Tap]:
    """A tap in a thread of its own."""
    tap, started = Tap(service_port), threading.Event()
    with background(tap.serve, started):
        yield tap


@contextmanager
def background(serve: Serve, started: threading.Event) -> Iterator[None]:
    """Run `serve(started, stop)` on an event loop in a thread until the end of the block."""
    loops: list[asyncio.AbstractEventLoop] = []
    stop = asyncio.Event()

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await serve(started, stop)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert started.wait(10)
        yield
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join()
