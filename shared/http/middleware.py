"""The outermost layer of every application, in plain ASGI: identity, timing, metrics, one log line, last-resort 500."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.context import (
    CALLER_HEADER,
    CREATION_KEY_HEADER,
    JOB_LIMIT_HEADER,
    RequestContext,
    bound,
    new_context,
)
from shared.problems import PROBLEM_MEDIA_TYPE, InternalError
from shared.telemetry import tracing
from shared.telemetry.metrics import HttpMetrics
from shared.telemetry.spans import record_request
from shared.telemetry.timing import Timings, collecting

logger = logging.getLogger("facet.http")

_QUIET_PATHS = frozenset({"/metrics", "/health/live", "/health/ready"})


@dataclass(slots=True)
class _Exchange:
    """What is known of an answer while it is sent."""

    send: Send
    context: RequestContext
    timings: Timings
    status: int = 500
    started: bool = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.context.request_id
            headers["traceparent"] = self.context.traceparent
            headers["X-Content-Type-Options"] = "nosniff"
            own = self.timings.header()
            if own:
                headers.append("Server-Timing", own)
        await self.send(message)


class Telemetry:
    """Gives each request an identity, times it, counts it and writes one log line.

    Args:
        app: the application inside.
        metrics: where requests are counted.
        behind_gateway: believe what the headers say of the caller.
    """

    def __init__(self, app: ASGIApp, *, metrics: HttpMetrics, behind_gateway: bool = True) -> None:
        self.app = app
        self.metrics = metrics
        self.behind_gateway = behind_gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        context = new_context(
            request_id=headers.get("x-request-id"),
            traceparent=headers.get("traceparent"),
            tracestate=headers.get("tracestate"),
        )
        if self.behind_gateway:
            context = context.on_behalf_of(
                headers.get(CALLER_HEADER),
                job_limit=headers.get(JOB_LIMIT_HEADER),
                creation_key=headers.get(CREATION_KEY_HEADER),
            )
        traced = False
        if tracing.active is not None and scope["path"] not in _QUIET_PATHS:
            context = tracing.active.decide(context, door=not self.behind_gateway)
            traced = context.sampled
        began = time.perf_counter()
        with (
            bound(context),
            collecting() as timings,
            self.metrics.in_flight.labels(self.metrics.process).track_inprogress(),
        ):
            exchange = _Exchange(send, context, timings)
            if traced:
                timings.intervals = []
            try:
                await self.app(scope, receive, exchange)
            except Exception:
                logger.exception("unhandled error")
                if exchange.started:
                    raise
                await _answer_internal_error(scope, exchange)
            finally:
                self._record(scope, exchange, time.perf_counter() - began)

    def _record(self, scope: Scope, exchange: _Exchange, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "unmatched"
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        status, timings = exchange.status, exchange.timings
        self.metrics.observe(method=method, route=route, status=status, seconds=seconds, timings=timings)
        if timings.intervals is not None:
            record_request(exchange.context, timings, method=method, route=route, status=status, seconds=seconds)
        if scope["path"] not in _QUIET_PATHS:
            phases = {phase: round(value * 1000, 1) for phase, value in exchange.timings.seconds.items()}
            fields = {"method": method, "route": route, "status": exchange.status, "ms": round(seconds * 1000, 1)}
            logger.info("request", extra=fields | {"phases_ms": phases})


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


async def _answer_internal_error(scope: Scope, exchange: _Exchange) -> None:
    problem = InternalError("Facet failed on this request. The log holds the reason under the request id.")
    body = problem.details(instance=scope["path"], request_id=exchange.context.request_id).model_dump_json().encode()
    headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await exchange({"type": "http.response.start", "status": problem.status, "headers": headers})
    await exchange({"type": "http.response.body", "body": body})
