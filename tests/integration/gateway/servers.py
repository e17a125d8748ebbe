"""Applications behind real sockets, each in a thread of its own, and services that misbehave."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.types import ASGIApp

from deploy.edge_server import bind, serve_until
from deploy.serve import service_configuration
from shared.settings import Settings

_LONGEST_STOP_S = 30
_GRACE_S = 1
"""Seconds that answers in flight get at the end of a test."""


@contextmanager
def serve(app: ASGIApp) -> Iterator[str]:
    """Serve an application as the fleet does: a gateway by the server of the edge, all others by that of services.

    Yields its URL.
    """
    is_gateway = isinstance(app, FastAPI) and hasattr(app.state, "gateway")
    serving = _serve_edge(app) if is_gateway else _serve_service(app)
    with serving as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _serve_edge(app: Any) -> Iterator[int]:
    settings: Settings = app.state.settings.model_copy(update={"gateway_port": 0})
    stop, loop = asyncio.Event(), uvloop.new_event_loop()
    listener = bind(settings)
    port: int = listener.getsockname()[1]
    serving = Serving(loop, serve_until(stop, app, settings, listener, grace_s=_GRACE_S))
    try:
        _wait_until_it_listens(port, serving)
        yield port
    finally:
        if serving.thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        serving.wait()


class Serving:
    """A server at work in a thread of its own.

    Args:
        loop: of uvloop, for it alone.
        work: serves until the server is asked to stop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[None, None, object]) -> None:
        self._loop, self._work = loop, work
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def wait(self) -> None:
        """Wait for its end."""
        self.thread.join(_LONGEST_STOP_S)
        assert not self.thread.is_alive(), "the server did not stop"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            assert runner.run(self._work) is not False, "the application did not start"


def _wait_until_it_listens(port: int, serving: Serving) -> None:
    while True:
        assert serving.thread.is_alive(), "the gateway did not start"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return


@contextmanager
def _serve_service(app: ASGIApp) -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = service_configuration("medical", Settings(_env_file=None))
        config.app, config.factory, config.timeout_graceful_shutdown = app, False, _GRACE_S
        server = uvicorn.Server(config)
        serving = Serving(uvloop.new_event_loop(), server.serve([listener]))
        try:
            while not server.started:
                assert serving.thread.is_alive(), "the server did not start"
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            serving.wait()


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
