"""Applications behind real sockets, each in a thread of its own, and services that misbehave."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from shared.http.front import Front
from starlette.types import ASGIApp


@contextmanager
def server_of(app: ASGIApp, **options: Any) -> Iterator[tuple[uvicorn.Server, int]]:
    """Serve an application as the fleet does (`deploy.serve`); yields the server and its port.

    Args:
        app: the application.
        options: of uvicorn, beside those of every test.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        front: Any = Front
        config = uvicorn.Config(
            app, http=front, log_config=None, access_log=False, ws="none", proxy_headers=False, **options
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.01)
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def serve(app: ASGIApp) -> Iterator[str]:
    """Serve an application; yields its URL."""
    with server_of(app, timeout_graceful_shutdown=1) as (_, port):
        yield f"http://127.0.0.1:{port}"


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def serve_bytes(handler: Handler) -> Iterator[str]:
    """Serve what is no well-behaved HTTP; yields the URL."""
    started: queue.Queue[tuple[int, Callable[[], object]]] = queue.Queue()

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except asyncio.CancelledError:  # at the end of the test
            writer.transport.abort()

    async def main() -> None:
        stop = asyncio.Event()
        server = await asyncio.start_server(handled, "127.0.0.1", 0)
        loop = asyncio.get_running_loop()
        started.put((server.sockets[0].getsockname()[1], lambda: loop.call_soon_threadsafe(stop.set)))
        await stop.wait()
        server.close()  # what is still being handled is cancelled at the end of the loop

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    port, stop = started.get()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop()
        thread.join()
