"""One hop: stream a request to its service and the answer back, and turn what goes wrong in between into problems.

Nothing is buffered. A caller that goes away cancels the call to the service, so that the slot it holds is freed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Final

import anyio
import httpx
from starlette.types import Receive, Scope, Send

from gateway.headers import answer_headers, has_body, onward_headers
from gateway.upstreams import Upstreams
from shared.http.context import current_context
from shared.problems import BadGateway, BadRequest, GatewayTimeout, NotFound, Problem, ServiceUnavailable
from shared.settings import Domain

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST: Final = 499
"""Seen in logs and metrics only: the caller was gone before there was an answer."""

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_RETRY_PAUSE_S = 0.05


class ClientDisconnected(Exception):
    """The caller went away in the middle of its request."""


class RequestBody(httpx.AsyncByteStream):
    """The body of a request as it comes in.

    Args:
        receive: the ASGI channel.
        expected: whether the request announces a body; without one, nothing is read.
    """

    def __init__(self, receive: Receive, *, expected: bool) -> None:
        self._receive = receive
        self._expected = expected
        self._read = asyncio.Event()
        if not expected:
            self._read.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Parts of the body.

        Raises:
            ClientDisconnected: the caller went away before its end.
            ContentTooLarge: it is over the limit (from the middleware outside).
        """
        more = self._expected
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            if chunk := message.get("body"):
                yield chunk
            more = message.get("more_body", False)
        self.finish()

    def finish(self) -> None:
        """From here on, only a disconnect is waited for."""
        self._read.set()

    async def cancel_on_disconnect(self, call: anyio.CancelScope) -> None:
        """Cancel `call` when the caller goes away after its body was read."""
        await self._read.wait()
        try:
            while (await self._receive())["type"] != "http.disconnect":
                pass
        except Exception:  # the rest of a body that the service did not want is over the limit
            return
        call.cancel()


class Proxy:
    """ASGI application that passes everything on to one domain's service.

    Args:
        domain: whose service.
        upstreams: where it is.
    """

    def __init__(self, domain: Domain, upstreams: Upstreams) -> None:
        self._domain = domain
        self._url = upstreams.urls[domain]
        self._host = self._url.netloc
        self._base = str(self._url).rstrip("/").encode("ascii")
        self._timeouts = upstreams.timeouts
        self._credentials = [(name.encode(), value.encode()) for name, value in upstreams.credentials.items()]
        self._transport = upstreams.transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        began = time.perf_counter()
        body = RequestBody(receive, expected=has_body(scope))
        request = self._request(scope, body)
        with anyio.CancelScope() as call:
            watcher = asyncio.create_task(body.cancel_on_disconnect(call))
            try:
                response = await self._open(request, retry=not has_body(scope))
                body.finish()
                await self._relay(response, send, began)
            except ClientDisconnected:
                call.cancel()
            finally:
                watcher.cancel()
        if call.cancel_called:
            # The server drops what is sent to a caller that is gone; the status is for the log line.
            await send({"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST, "headers": []})

    def _request(self, scope: Scope, body: RequestBody) -> httpx.Request:
        if not {".", ".."}.isdisjoint(scope["path"].split("/")):
            raise NotFound("A path with the segments . or .. leads nowhere here.")
        target = scope.get("raw_path") or scope["path"].encode()
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        try:
            url = self._url.copy_with(raw_path=target)
        except (UnicodeDecodeError, httpx.InvalidURL):
            raise BadRequest("The address holds characters that must be percent-encoded.") from None
        return httpx.Request(
            scope["method"],
            url,
            headers=onward_headers(scope, host=self._host, context=current_context()) + self._credentials,
            stream=body,
            extensions={"timeout": self._timeouts},
        )

    async def _open(self, request: httpx.Request, *, retry: bool) -> httpx.Response:
        """The service's answer, its body still to be read."""
        try:
            return await self._transport.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if not retry or request.method not in _IDEMPOTENT:
                raise self._problem(error) from error
        except httpx.TransportError as error:
            raise self._problem(error) from error
        await anyio.sleep(_RETRY_PAUSE_S)
        return await self._open(request, retry=False)

    def _problem(self, error: httpx.TransportError) -> Problem:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return ServiceUnavailable(
                f"The {self._domain} service cannot be reached at present. /health/ready says when it can.",
                retry_after_s=2,
            )
        if isinstance(error, httpx.PoolTimeout):
            return ServiceUnavailable("The gateway has as many requests in flight as it may. Try again shortly.")
        if isinstance(error, httpx.TimeoutException):
            return GatewayTimeout(f"The {self._domain} service did not answer in time.")
        logger.warning("broken answer", extra={"service": self._domain, "error": type(error).__name__})
        return BadGateway(f"The {self._domain} service broke off or answered with something that is not HTTP.")

    async def _relay(self, response: httpx.Response, send: Send, began: float) -> None:
        headers = answer_headers(response.headers.raw, base=self._base)
        headers.append((b"server-timing", f"gateway;dur={(time.perf_counter() - began) * 1000:.1f}".encode()))
        try:
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            async for chunk in response.stream:  # type: ignore[union-attr]
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except httpx.TransportError as error:
            # Too late for a problem: ending without the last part makes the server close the connection, by which the
            # caller knows that the answer is not whole.
            logger.warning("answer broke off", extra={"service": self._domain, "error": type(error).__name__})
            return
        finally:
            await response.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
