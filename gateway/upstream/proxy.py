"""One call: pass a request that is there in full on to its service, and its answer back as it comes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Final

import anyio
from starlette.types import Receive, Scope, Send

from gateway.request_bodies.reader import ClientDisconnected, RequestBody
from gateway.upstream.admission import Admission
from gateway.upstream.headers import client_response_headers, onward_headers
from gateway.upstream.services import Upstreams
from gateway.upstream.transport import (
    PoolExhausted,
    TimedOut,
    TransportFailure,
    Unreachable,
    UpstreamRequest,
    UpstreamResponse,
)
from shared.http.disconnect import PATIENCE_S
from shared.problems import BadGateway, GatewayTimeout, Problem, ServiceUnavailable
from shared.request_context import RequestContext, current_context
from shared.settings import Domain
from shared.telemetry import tracing
from shared.telemetry.spans import begin_hop, end_hop

logger = logging.getLogger(__name__)

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_RETRY_PAUSE_S: Final = 0.05
_HEAD_PATIENCE_S: Final = 0.05
"""Seconds that the head of an answer waits for its first part."""


class _DisconnectWatch:
    """Begins to look whether the caller is still there when the answer takes longer than a moment.

    Args:
        receive: the ASGI channel, behind the body.
        call: cancelled when the caller goes away.
    """

    def __init__(self, receive: Receive, call: anyio.CancelScope) -> None:
        self._receive, self._call = receive, call
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._call.cancel()

    def end(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


class Proxy:
    """Passes requests on to one domain's service.

    Args:
        domain: whose service.
        upstreams: where it is.
        admission: knows how many requests it takes.
    """

    def __init__(self, domain: Domain, upstreams: Upstreams, admission: Admission) -> None:
        self._domain = domain
        self._url = upstreams.urls[domain]
        self._host = upstreams.host(domain)
        self._base = self._url.encode("ascii")
        self._upstreams = upstreams
        self._admission = admission

    async def __call__(self, scope: Scope, body: RequestBody, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            ClientDisconnected: the caller went away before its answer was complete.
            Problem: the service is full, or could not be asked.
        """
        counted = scope["method"] == "POST"
        before = self._admission.enter(scope["path"]) if counted else 0
        try:
            with anyio.CancelScope() as call:
                watch = _DisconnectWatch(receive, call)
                try:
                    await self._pass_on(scope, body, send, before=before if counted else None)
                finally:
                    watch.end()
            if call.cancelled_caught:
                raise ClientDisconnected
        finally:
            if counted:
                self._admission.leave(scope["path"])

    async def _pass_on(self, scope: Scope, body: RequestBody, send: Send, *, before: int | None) -> None:
        began = time.perf_counter()
        context = current_context()
        hop = begin_hop(context, method=scope["method"], service=self._domain) if tracing.active is not None else None
        status: int | None = None
        try:
            request = self._request(scope, body, hop.context if hop else context)
            reply = await self._open(request, retry=not body.size and request.method in _IDEMPOTENT)
            status = reply.status
            if status == 503 and before is not None:
                self._learn(scope["path"], reply, before)
            await self._relay(reply, send, began)
        finally:
            if hop is not None:
                end_hop(hop, status)

    def _request(self, scope: Scope, body: RequestBody, context: RequestContext | None) -> UpstreamRequest:
        target: bytes = scope.get("raw_path") or scope["path"].encode()
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        return UpstreamRequest(
            method=scope["method"],
            base=self._url,
            target=target.decode("ascii"),
            headers=[*onward_headers(scope, host=self._host, context=context), *self._upstreams.credentials],
            body=body,
            connect_timeout_s=self._upstreams.connect_timeout_s,
            answer_timeout_s=self._upstreams.answer_timeout_s,
        )

    def _learn(self, path: str, reply: UpstreamResponse, before: int) -> None:
        if (content := reply.whole()) is not None:
            self._admission.learn(path, before=before, headers=list(reply.headers), body=content)

    async def _open(self, request: UpstreamRequest, *, retry: bool) -> UpstreamResponse:
        """The service's answer, its body still to be read."""
        try:
            return await self._upstreams.wire.open(request)
        except Unreachable as failure:
            if not retry:
                raise self.problem_of(failure) from failure
        except TransportFailure as failure:
            raise self.problem_of(failure) from failure
        await anyio.sleep(_RETRY_PAUSE_S)
        return await self._open(request, retry=False)

    def problem_of(self, failure: TransportFailure) -> Problem:
        """What a caller is told of a failure."""
        if isinstance(failure, Unreachable):
            return ServiceUnavailable(
                f"The {self._domain} service cannot be reached at present. /health/ready says when it can.",
                retry_after_s=2,
            )
        if isinstance(failure, PoolExhausted):
            return ServiceUnavailable("The gateway has as many requests in flight as it may. Try again shortly.")
        if isinstance(failure, TimedOut):
            return GatewayTimeout(f"The {self._domain} service did not answer in time.")
        logger.warning("broken answer", extra={"service": self._domain, "error": str(failure)})
        return BadGateway(f"The {self._domain} service broke off or answered with something that is not HTTP.")

    async def _relay(self, reply: UpstreamResponse, send: Send, began: float) -> None:
        """Send the answer on as it comes.

        Its head waits a moment for the first part, so that an answer which breaks off at once is a problem.

        Raises:
            BadGateway: the answer broke off before anything of it was sent on.
        """
        headers = client_response_headers(reply.headers, base=self._base)
        headers.append((b"server-timing", f"gateway;dur={(time.perf_counter() - began) * 1000:.1f}".encode()))
        start = {"type": "http.response.start", "status": reply.status, "headers": headers}
        started = False
        try:
            whole = reply.whole()
            if whole is not None:
                await send(start)
                await send({"type": "http.response.body", "body": whole, "more_body": False})
                return
            async for chunk in _with_pause(reply.parts(), after_s=_HEAD_PATIENCE_S):
                if not started:
                    started = True
                    await send(start)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TransportFailure as failure:
            if not started:
                raise self.problem_of(failure) from failure
            # Too late for a problem: ending without the last part makes the server close the connection, by which the
            # caller knows that the answer is not whole.
            logger.warning("answer broke off", extra={"service": self._domain, "error": str(failure)})
            return
        finally:
            await reply.close()
        if not started:
            await send(start)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _with_pause(parts: AsyncIterator[bytes], *, after_s: float) -> AsyncIterator[bytes]:
    """The parts; an empty one before the first, where that is long in coming: servers hold a head back until then."""
    first = asyncio.ensure_future(anext(parts, None))
    try:
        await asyncio.wait([first], timeout=after_s)
        if not first.done():
            yield b""
        part = await first
    finally:
        first.cancel()
    while part is not None:
        yield part
        part = await anext(parts, None)
