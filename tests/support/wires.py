"""Any transport of httpx as the gateway's wire: applications in this process, scripted answers and failures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx

from gateway.request_bodies.reader import RequestBody
from gateway.upstream.transport import (
    ConnectionBroken,
    PoolExhausted,
    RawHeaders,
    TimedOut,
    Unreachable,
    UpstreamRequest,
    UpstreamResponse,
)


class _Stream(httpx.AsyncByteStream):
    def __init__(self, body: RequestBody) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body.chunks():
            yield chunk


class _HttpxReply:
    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> RawHeaders:
        return self._response.headers.raw

    def whole(self) -> bytes | None:
        return None

    async def parts(self) -> AsyncIterator[bytes]:
        assert isinstance(self._response.stream, httpx.AsyncByteStream)
        with _failures():
            async for part in self._response.stream:
                yield part

    async def close(self) -> None:
        await self._response.aclose()


class HttpxWire:
    """The wire.

    Args:
        transport: of httpx.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def open(self, request: UpstreamRequest) -> UpstreamResponse:
        length = [(b"Content-Length", str(request.body.size).encode())] if request.body.size else []
        onward = httpx.Request(
            request.method,
            request.base + request.target,
            headers=[*request.headers, *length],
            stream=_Stream(request.body),
        )
        with _failures():
            return _HttpxReply(await self._transport.handle_async_request(onward))

    async def close(self) -> None:
        await self._transport.aclose()


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unreachable from error
    except httpx.PoolTimeout as error:
        raise PoolExhausted from error
    except httpx.TimeoutException as error:
        raise TimedOut from error
    except httpx.HTTPError as error:
        raise ConnectionBroken(type(error).__name__) from error
