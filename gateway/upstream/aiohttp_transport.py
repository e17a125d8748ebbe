"""The wire of sockets: aiohttp's client, kept-alive HTTP/1.1 connections to all services.

It costs a fifth of what httpx does for each request, which on two cores is the difference between a gateway that is
noticed and one that is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from multidict import CIMultiDict
from yarl import URL

from gateway.request_bodies.reader import RequestBody
from gateway.upstream.transport import (
    ConnectionBroken,
    PoolExhausted,
    RawHeaders,
    TimedOut,
    Unreachable,
    UpstreamRequest,
)

CONNECTIONS_LIMIT: Final = 512
"""Most requests that are with services at the same time; further ones are refused."""

KEEPALIVE_S: Final = 60.0
"""Below the time after which the services close idle connections, so that none is used as it closes."""

_GRACE_S: Final = 1.0
"""Seconds beyond the time for a part of an answer, after which it is given up here. Aiohttp's own clock does so first,
unless a chunk that is none stopped the clock and woke nobody, as was seen once."""

_AUTOMATIC: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_LOOKED_AFTER_S: Final = 1.0
"""Of silence within a body, after which the connection is looked at."""
_IN_ONE_PIECE: Final = 1024 * 1024
"""Bytes of a body up to which it is handed over as one piece."""


class AiohttpTransport:
    """A pool of connections; opened with its first request, as it belongs to one event loop.

    Attributes:
        in_flight: requests that are with services now.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self.in_flight = 0

    async def open(self, request: UpstreamRequest) -> _AiohttpResponse:
        """Send a request and wait for the beginning of its answer (`UpstreamTransport.open`)."""
        if self.in_flight >= CONNECTIONS_LIMIT:
            raise PoolExhausted
        self.in_flight += 1
        try:
            with _failures():
                response = await self._ask(request)
        except BaseException:
            self.in_flight -= 1
            raise
        return _AiohttpResponse(response, self._finish, request.answer_timeout_s + _GRACE_S)

    async def _ask(self, request: UpstreamRequest) -> aiohttp.ClientResponse:
        patience = _Patience(request.answer_timeout_s)
        async with patience.waiting():
            response = await self._connected().request(
                request.method,
                URL(request.base + request.target, encoded=True),
                data=_data(request.body, patience),
                headers=_headers(request.headers, request.body),
                timeout=_timeouts(request),
                allow_redirects=False,
            )
        _require_http(response)
        return response

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _finish(self) -> None:
        self.in_flight -= 1

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=0, keepalive_timeout=KEEPALIVE_S),
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
        """Hand out a connection that is as it should be."""
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()


class _Patience:
    """How long a service may take until its answer begins, beginning anew with each part of the body that it takes.

    Aiohttp's own clock runs only once all of the body is written: a service that stops reading would be waited for
    without end.

    Args:
        seconds: for each part, and for the answer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._deadline = seconds, asyncio.timeout(None)

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        async with self._deadline:
            self.renew()
            yield

    def renew(self) -> None:
        with suppress(RuntimeError):  # the answer began, or was given up, before the body was written
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._seconds)


class _Parts(Payload):
    """A large body, written from its beginning each time: a PUT on a connection that was closed is sent again.

    Args:
        body: which.
        patience: renewed with each part.
    """

    _autoclose = True

    def __init__(self, body: RequestBody, patience: _Patience) -> None:
        super().__init__(body)
        self._body, self._patience = body, patience

    @property
    def size(self) -> int:
        return self._body.size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._body.buffer()).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        async for chunk in self._body.chunks():
            self._patience.renew()
            await writer.write(chunk)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        await self.write(writer)


class _AiohttpResponse:
    def __init__(self, response: aiohttp.ClientResponse, finish: Callable[[], None], longest_s: float) -> None:
        self._response, self._finish, self._longest_s = response, finish, longest_s
        self._whole: bytes | None = None

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> RawHeaders:
        return self._response.raw_headers

    def whole(self) -> bytes | None:
        content = self._response.content
        if self._whole is None and content.is_eof() and content.exception() is None:
            self._whole = content.read_nowait()
        return self._whole

    async def parts(self) -> AsyncIterator[bytes]:
        parts = self._response.content.iter_any()
        with _failures():
            while (part := await self._next(parts)) is not None:
                yield part

    async def _next(self, parts: AsyncIterator[bytes]) -> bytes | None:
        """The next part, None after the last.

        A chunk that is none makes aiohttp close the connection; where it comes in a segment of its own, whoever waits
        for the body is not told, so that has to be looked for.
        """
        left_s = self._longest_s
        while True:
            slice_s = min(left_s, _LOOKED_AFTER_S)
            try:
                async with asyncio.timeout(slice_s):
                    return await anext(parts, None)
            except TimeoutError:
                left_s -= slice_s
                if self._is_lost():
                    raise ConnectionBroken("the connection was closed within a body") from None
                if left_s <= 0:
                    raise

    def _is_lost(self) -> bool:
        connection = self._response.connection
        lost = connection is None or connection.protocol is None or not connection.protocol.is_connected()
        return lost and not self._response.content.is_eof()

    async def close(self) -> None:
        self._finish()
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _require_http(response: aiohttp.ClientResponse) -> None:
    """Nobody asked for another protocol (RFC 9110, section 15.2.2)."""
    if response.status < 200 or any(b" " in name or b"\t" in name for name, _ in response.raw_headers):
        response.close()
        raise ConnectionBroken(f"status {response.status}, or fields that are none")


def _timeouts(request: UpstreamRequest) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None, sock_connect=request.connect_timeout_s, sock_read=request.answer_timeout_s, ceil_threshold=60
    )


def _data(body: RequestBody, patience: _Patience) -> bytes | _Parts | None:
    if not body.size:
        return None
    return body.content if body.file is None and body.size <= _IN_ONE_PIECE else _Parts(body, patience)


def _headers(raw: RawHeaders, body: RequestBody) -> CIMultiDict[str]:
    """The fields as text, with the length of what is sent: of a body in chunks, aiohttp cannot know it."""
    fields = CIMultiDict([(_text(name), _text(value)) for name, value in raw])
    if body.size:
        fields["Content-Length"] = str(body.size)
    return fields


def _text(value: bytes) -> str:
    """Aiohttp writes header fields as UTF-8; bytes that are none are read as what HTTP once said they are."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


@contextmanager
def _failures() -> Iterator[None]:
    """Turn aiohttp's exceptions into the wire's."""
    try:
        yield
    except aiohttp.ClientError as error:
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            raise Unreachable from error
        if isinstance(error, aiohttp.ServerTimeoutError):
            raise TimedOut from error
        raise ConnectionBroken(type(error).__name__) from error
    except TimeoutError as error:
        raise TimedOut from error
    except (OSError, asyncio.IncompleteReadError) as error:
        raise ConnectionBroken(type(error).__name__) from error
