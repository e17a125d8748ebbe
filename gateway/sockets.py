"""The wire of sockets: aiohttp's client, kept-alive HTTP/1.1 connections to all services.

It costs a fifth of what httpx does for each request, which on two cores is the difference between a gateway that is
noticed and one that is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gateway.wire import Body, BrokenOff, Crowded, Onward, RawHeaders, TimedOut, Unreachable

CONNECTIONS_LIMIT = 512
"""Most requests that are with services at the same time; further ones are refused."""

_KEEPALIVE_S = 4.0
"""Below the five seconds after which uvicorn closes idle connections, so that none is used as it closes."""

_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Sockets:
    """A pool of connections; opened with its first request, as it belongs to one event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._under_way = 0

    async def open(self, request: Onward) -> _SocketReply:
        """See `Wire`."""
        if self._under_way >= CONNECTIONS_LIMIT:
            raise Crowded
        body = _Watched(request.body) if request.body is not None else None
        self._under_way += 1
        try:
            async with asyncio.timeout(None) as patience:
                if body is not None:
                    body.watch(patience, request.connect_timeout_s + request.answer_timeout_s)
                with _failures(body):
                    response = await self._connected().request(
                        request.method,
                        URL(request.base + request.target, encoded=True),
                        data=None if body is None else body.data(),
                        headers=_headers(request.headers),
                        timeout=_timeouts(request),
                        allow_redirects=False,
                    )
                    _require_http(response)
        except TimeoutError:
            self._under_way -= 1
            raise TimedOut from None
        except BaseException:
            self._under_way -= 1
            raise
        if body is not None:
            body.answered()
        return _SocketReply(response, body, self._finished)

    async def close(self) -> None:
        """See `Wire`."""
        if self._session is not None:
            await self._session.close()

    def _finished(self) -> None:
        self._under_way -= 1

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=0, keepalive_timeout=_KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=_AUTOMATIC,
                trust_env=False,
                max_line_size=64 * 1024,
                max_field_size=64 * 1024,
            )
        return self._session


class _Connector(aiohttp.TCPConnector):
    """Never uses a connection again on which something came that nobody asked for: it would answer the next caller."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's signature
    ) -> aiohttp.connector.Connection:
        """See `aiohttp.BaseConnector`."""
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()


class _Watched:
    """A body whose parts are timed, and whose own failure is told from one of the connection.

    Args:
        body: the request's.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._patience: asyncio.Timeout | None = None
        self._seconds = 0.0
        self.failure: Exception | None = None
        self.sent = isinstance(body, bytes)

    def watch(self, patience: asyncio.Timeout, seconds: float) -> None:
        """Give up when the service takes longer than this to read a part, or to answer after the last."""
        if not isinstance(self._body, bytes):
            self._patience, self._seconds = patience, seconds

    def answered(self) -> None:
        """The answer began, maybe before all was read: from here on its own pauses are timed."""
        self._patience = None

    def data(self) -> Any:
        """For aiohttp."""
        return self._body if isinstance(self._body, bytes) else self._parts(self._body)

    async def _parts(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for part in body:
                self._go_on(self._seconds)
                yield part
                self._go_on(None)  # the caller may take its time
        except Exception as failure:
            self.failure = failure
            raise
        self.sent = True
        self._go_on(self._seconds)

    def _go_on(self, seconds: float | None) -> None:
        if self._patience is not None:
            when = None if seconds is None else asyncio.get_running_loop().time() + seconds
            self._patience.reschedule(when)


class _SocketReply:
    def __init__(self, response: aiohttp.ClientResponse, body: _Watched | None, finished: Callable[[], None]) -> None:
        self._response, self._body = response, body
        self._finished = finished

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> RawHeaders:
        return self._response.raw_headers

    def whole(self) -> bytes | None:
        content = self._response.content
        return content.read_nowait() if content.is_eof() and content.exception() is None else None

    async def parts(self) -> AsyncIterator[bytes]:
        with _failures(None):
            async for part in self._response.content.iter_any():
                yield part

    async def close(self) -> None:
        self._finished()
        if self._response.content.at_eof() and (self._body is None or self._body.sent):
            self._response.release()
        else:
            self._response.close()


def _require_http(response: aiohttp.ClientResponse) -> None:
    """Nobody asked for another protocol (RFC 9110, section 15.2.2)."""
    if response.status < 200:
        response.close()
        raise BrokenOff(f"status {response.status}")


def _timeouts(request: Onward) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None, sock_connect=request.connect_timeout_s, sock_read=request.answer_timeout_s, ceil_threshold=60
    )


def _headers(raw: RawHeaders) -> CIMultiDict[str]:
    """Without Transfer-Encoding: aiohttp frames the body itself."""
    return CIMultiDict([(_text(name), _text(value)) for name, value in raw if name.lower() != b"transfer-encoding"])


def _text(value: bytes) -> str:
    """Aiohttp writes header fields as UTF-8; bytes that are none are read as what HTTP once said they are."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


@contextmanager
def _failures(body: _Watched | None) -> Iterator[None]:
    """Turn aiohttp's exceptions into the wire's; what the body raised goes through as it is."""
    try:
        yield
    except aiohttp.ClientError as error:
        if body is not None and body.failure is not None:
            raise body.failure from error
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            raise Unreachable from error
        if isinstance(error, aiohttp.ServerTimeoutError):
            raise TimedOut from error
        raise BrokenOff(type(error).__name__) from error
    except (OSError, asyncio.IncompleteReadError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise BrokenOff(type(error).__name__) from error
