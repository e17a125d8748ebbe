"""The server of the public edge: granian inside this process, on a socket of ours."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any, Final

import uvloop
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.settings import Settings

_BACKLOG: Final = 2048
_MOST_CONNECTIONS: Final = 16_384
_LAST_S: Final = 5.0
"""Seconds for what follows the last answer: the application's own shutdown."""
_HEAD_BUFFER_BYTES: Final = 128 * 1024
"""Above `head_limit_bytes`, so that a head a little too large gets a problem as its answer; hyper refuses larger ones,
and those of more than 100 fields, with a bare 431."""


class RequestTasks:
    """ASGI layer that knows the tasks of the requests under way: granian waits for them without end when it stops.

    Args:
        app: the application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[None]] = set()
        self._cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return
        self._tasks.add(task)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
        finally:
            self._tasks.discard(task)

    def cancel(self) -> None:
        """Break all of them off; without a word in the log, as it is known why."""
        self._cancelled = True
        for task in self._tasks:
            task.cancel()


class EdgeServer(Server):
    """Granian on a socket that is bound already.

    By itself it would bind with SO_REUSEPORT, and two gateways would share a port without a word.

    Args:
        app: the application.
        settings: times and limits of connections.
        listener: bound; its options hold for every connection. It is the server's from the start on.
    """

    def __init__(self, app: ASGIApp, settings: Settings, listener: socket.socket) -> None:
        super().__init__(
            app,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            websockets=False,
            backlog=_BACKLOG,
            backpressure=_MOST_CONNECTIONS,
            runtime_threads=1,
            http1_settings=HTTP1Settings(
                header_read_timeout=round(settings.keep_alive_s * 1000), max_buffer_size=_HEAD_BUFFER_BYTES
            ),
            log_level=LogLevels.error,
            log_access=False,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        holder: Any = SocketHolder  # its types leave out that it takes a file descriptor, and closes it in the end
        self._shd = holder(self._listener.detach(), False, self.backlog)
        self._ssp: Any = None


def bind(settings: Settings) -> socket.socket:
    """The listening socket, whose connections the kernel gives up when a caller reads nothing for too long.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        _prepare(listener, settings)
    except OSError:
        listener.close()
        raise
    return listener


def _prepare(listener: socket.socket, settings: Settings) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.send_timeout_s * 1000))
    listener.bind((settings.host, settings.gateway_port))
    listener.set_inheritable(True)
    listener.setblocking(False)


def run_edge(app: ASGIApp, settings: Settings, *, grace_s: float) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a stop that was asked for, 3 if the application does not start.

    Args:
        app: the application.
        settings: where to listen, times and limits.
        grace_s: seconds that answers in flight get to end.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve_until_signalled(app, settings, grace_s))


async def serve_until(
    stop: asyncio.Event, app: ASGIApp, settings: Settings, listener: socket.socket, *, grace_s: float
) -> bool:
    """Serve until `stop` is set; False if the application does not start.

    Args:
        stop: asks for the end.
        app: the application.
        settings: times and limits.
        listener: of `bind`; it is the server's from now on.
        grace_s: seconds that answers in flight get to end.
    """
    requests = RequestTasks(app)
    server = EdgeServer(requests, settings, listener)
    serving, stopping = asyncio.create_task(server.serve()), asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        stopping.cancel()
        return False
    server.signal_handler_interrupt()  # type: ignore[no-untyped-call]
    _, unfinished = await asyncio.wait([serving], timeout=grace_s)
    if unfinished:
        requests.cancel()
        await asyncio.wait([serving], timeout=_LAST_S)
    return True


async def _serve_until_signalled(app: ASGIApp, settings: Settings, grace_s: float) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return 0 if await serve_until(stop, app, settings, bind(settings), grace_s=grace_s) else 3
