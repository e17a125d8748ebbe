"""One hop: stream a request to its service and the answer back, and turn what goes wrong in between into problems.

Nothing is buffered but the first part of a body. A caller that goes away cancels the call to the service, so that the
slot it holds is freed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Final

import anyio
from starlette.types import Message, Receive, Scope, Send

from gateway.headers import answer_headers, has_body, onward_headers
from gateway.upstreams import Upstreams
from gateway.wire import Body, Crowded, Onward, Reply, TimedOut, Unreachable, WireFailure
from shared.http.context import RequestContext, current_context
from shared.http.presence import PATIENCE_S
from shared.problems import BadGateway, BadRequest, GatewayTimeout, NotFound, Problem, ServiceUnavailable
from shared.settings import Domain
from shared.telemetry import tracing
from shared.telemetry.spans import begin_hop, end_hop

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST: Final = 499
"""Seen in logs and metrics only: the caller was gone before there was an answer."""

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_RETRY_PAUSE_S = 0.05


class ClientDisconnected(Exception):
    """The caller went away in the middle of its request."""


class RequestBody:
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

    async def begin(self) -> Body | None:
        """The whole of it if it is here already, else its parts as they come.

        Raises:
            ClientDisconnected: the caller went away before its end; also raised by the parts.
            ContentTooLarge: it is over the limit (from the middleware outside); likewise.
        """
        if not self._expected:
            return None
        message = await self._next()
        if message.get("more_body", False):
            return self._parts(message)
        self.finish()
        body: bytes = message.get("body", b"")
        return body

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        return message

    async def _parts(self, message: Message) -> AsyncIterator[bytes]:
        while True:
            if chunk := message.get("body"):
                yield chunk
            if not message.get("more_body", False):
                break
            message = await self._next()
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


class _Watch:
    """Begins to look whether the caller is still there when the answer takes longer than a moment."""

    def __init__(self, body: RequestBody, call: anyio.CancelScope) -> None:
        self._body, self._call = body, call
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._body.cancel_on_disconnect(self._call))

    def end(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


class Proxy:
    """ASGI application that passes everything on to one domain's service.

    Args:
        domain: whose service.
        upstreams: where it is.
    """

    def __init__(self, domain: Domain, upstreams: Upstreams) -> None:
        self._domain = domain
        self._url = upstreams.urls[domain]
        self._host = upstreams.host(domain)
        self._base = self._url.encode("ascii")
        self._upstreams = upstreams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        began = time.perf_counter()
        target = _target(scope)
        body = RequestBody(receive, expected=has_body(scope))
        context = current_context()
        hop = begin_hop(context, method=scope["method"], service=self._domain) if tracing.active is not None else None
        status: int | None = None
        with anyio.CancelScope() as call:
            watch = _Watch(body, call)
            try:
                request = self._request(scope, target, await body.begin(), hop.context if hop else context)
                reply = await self._open(request, retry=request.body is None and request.method in _IDEMPOTENT)
                body.finish()
                status = reply.status
                await self._relay(reply, send, began)
            except ClientDisconnected:
                call.cancel()
            finally:
                watch.end()
                if hop is not None:
                    end_hop(hop, status)
        if call.cancel_called:
            # The server drops what is sent to a caller that is gone; the status is for the log line.
            await send({"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST, "headers": []})

    def _request(self, scope: Scope, target: str, body: Body | None, context: RequestContext | None) -> Onward:
        return Onward(
            method=scope["method"],
            base=self._url,
            target=target,
            headers=[
                *onward_headers(scope, host=self._host, context=context),
                *self._upstreams.credentials,
            ],
            body=body,
            connect_timeout_s=self._upstreams.connect_timeout_s,
            answer_timeout_s=self._upstreams.answer_timeout_s,
        )

    async def _open(self, request: Onward, *, retry: bool) -> Reply:
        """The service's answer, its body still to be read."""
        try:
            return await self._upstreams.wire.open(request)
        except Unreachable as failure:
            if not retry:
                raise self.problem_of(failure) from failure
        except WireFailure as failure:
            raise self.problem_of(failure) from failure
        await anyio.sleep(_RETRY_PAUSE_S)
        return await self._open(request, retry=False)

    def problem_of(self, failure: WireFailure) -> Problem:
        """What a caller is told of a failure."""
        if isinstance(failure, Unreachable):
            return ServiceUnavailable(
                f"The {self._domain} service cannot be reached at present. /health/ready says when it can.",
                retry_after_s=2,
            )
        if isinstance(failure, Crowded):
            return ServiceUnavailable("The gateway has as many requests in flight as it may. Try again shortly.")
        if isinstance(failure, TimedOut):
            return GatewayTimeout(f"The {self._domain} service did not answer in time.")
        logger.warning("broken answer", extra={"service": self._domain, "error": str(failure)})
        return BadGateway(f"The {self._domain} service broke off or answered with something that is not HTTP.")

    async def _relay(self, reply: Reply, send: Send, began: float) -> None:
        headers = answer_headers(reply.headers, base=self._base)
        headers.append((b"server-timing", f"gateway;dur={(time.perf_counter() - began) * 1000:.1f}".encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        try:
            whole = reply.whole()
            if whole is not None:
                await send({"type": "http.response.body", "body": whole, "more_body": False})
                return
            async for chunk in reply.parts():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except WireFailure as failure:
            # Too late for a problem: ending without the last part makes the server close the connection, by which the
            # caller knows that the answer is not whole.
            logger.warning("answer broke off", extra={"service": self._domain, "error": str(failure)})
            return
        finally:
            await reply.close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _target(scope: Scope) -> str:
    """Path and query as they were asked for.

    Raises:
        NotFound: the path has segments that lead elsewhere.
        BadRequest: it holds bytes that an address may not.
    """
    if not {".", ".."}.isdisjoint(scope["path"].split("/")):
        raise NotFound("A path with the segments . or .. leads nowhere here.")
    target: bytes = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    if not target.isascii() or b" " in target or b"#" in target:
        raise BadRequest("The address holds characters that must be percent-encoded.")
    return target.decode("ascii")
