"""The shortest hop: a whole request out, a whole answer in, over kept-alive connections that httptools reads.

For small tensors only (`shared.http.express`), of which thousands come in a second; everything that streams goes
through `gateway.proxy` and aiohttp.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

from gateway.wire import BrokenOff, RawHeaders, TimedOut, Unreachable
from shared.http.express import Body

_KEEPALIVE_S = 4.0
"""Below the five seconds after which uvicorn closes idle connections, so that none is used as it closes."""


class QuickReply:
    """An answer, whole."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: RawHeaders, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class _Connection(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self) -> None:
        self._parser: Any = None
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[QuickReply] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """Whether a request may be sent: it is open, and the other end is not about to close it."""
        transport = self._transport
        fresh = time.monotonic() - self.idle_since < _KEEPALIVE_S
        return transport is not None and not transport.is_closing() and fresh

    def ask(self, head: bytes, body: Body) -> asyncio.Future[QuickReply]:
        """Send a request."""
        assert self._transport is not None  # noqa: S101 - for the type checker
        self._headers, self._parts = [], []
        self._parser = httptools.HttpResponseParser(self)
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.writelines((head, body))
        return self._waiter

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self.idle_since = time.monotonic()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._waiter is None:  # nobody asked: whatever it is, it must not become the next caller's answer
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except Exception as error:  # what is no HTTP, and what comes unasked
            self._fail(BrokenOff(type(error).__name__))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        self._fail(BrokenOff(type(exc).__name__ if exc else "closed"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self._headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        status = self._parser.get_status_code()
        if status < 200:
            self._headers, self._parts = [], []
            return
        if not self._parser.should_keep_alive():
            self.close()
        self.idle_since = time.monotonic()
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            self.close()
        elif not waiter.done():
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            waiter.set_result(QuickReply(status, self._headers, body))

    def _fail(self, failure: BrokenOff) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(failure)


class QuickHop:
    """Connections to one service.

    Args:
        base: scheme and authority of the service.
        connect_timeout_s: seconds for a connection.
        answer_timeout_s: seconds for an answer.
    """

    def __init__(self, base: str, *, connect_timeout_s: float, answer_timeout_s: float) -> None:
        address = urlsplit(base)
        self._host, self._port = address.hostname or "", address.port or 80
        self._connect_timeout_s, self._answer_timeout_s = connect_timeout_s, answer_timeout_s
        self._idle: deque[_Connection] = deque()

    async def ask(self, head: bytes, body: Body, *, meanwhile: Callable[[], object] = lambda: None) -> QuickReply:
        """Send a request and wait for its whole answer.

        Args:
            head: request line and header fields, with the empty line behind them.
            body: of the request.
            meanwhile: called when the request is on its way.

        Raises:
            WireFailure: there is no answer.
        """
        connection = self._take() or await self._connect()
        done = False
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                answer = connection.ask(head, body)
                meanwhile()
                reply = await answer
            done = True
            return reply
        except TimeoutError:
            raise TimedOut from None
        finally:
            if done:
                self._idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
        except OSError as error:  # TimeoutError among them
            raise Unreachable from error
        return connection
