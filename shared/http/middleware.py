"""The outermost layer of every application, in plain ASGI: identity, timing, metrics, one log line, last-resort 500."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.problems import PROBLEM_MEDIA_TYPE, InternalError
from shared.request_context import (
    CALLER_HEADER,
    CREATION_KEY_HEADER,
    JOB_LIMIT_HEADER,
    PREFIX_HEADER,
    PREFIX_IN_SCOPE,
    RequestContext,
    bind,
    new_context,
    path_prefix,
    unbind,
)
from shared.telemetry import tracing
from shared.telemetry.lines import RequestLines
from shared.telemetry.metrics import HttpMetrics
from shared.telemetry.spans import record_request
from shared.telemetry.timing import Timings, collect, uncollect

logger = logging.getLogger("facet.http")

_QUIET_PATHS = frozenset({"/metrics", "/health/live", "/health/ready"})


@dataclass(slots=True)
class RequestRecord:
    """What is known of a request while it is answered."""

    context: RequestContext
    timings: Timings
    status: int = 500
    started: bool = False
    head: Message | None = None
    """What waits for the first part of the answer: until that is there, an error can still become a problem."""

    def begin(self, status: int, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The answer begins; returns its header fields with the request's identity."""
        self.started, self.status = True, status
        headers = [pair for pair in given if pair[0] not in _OWN]
        headers += (
            (b"x-request-id", self.context.request_id.encode()),
            (b"traceparent", self.context.traceparent.encode()),
            (b"x-content-type-options", b"nosniff"),
        )
        if own := self.timings.header():
            headers.append((b"server-timing", own.encode()))
        return headers

    def wrap_send(self, send: Send) -> Send:
        """The same way out, on which the answer gets those fields."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self.begin(message["status"], message.get("headers", ()))
                self.head = message
                return
            if (head := self.head) is not None:
                self.head = None
                await send(head)
            await send(message)

        return sending


class Telemetry:
    """Gives each request an identity, times it, counts it and writes one log line.

    Args:
        app: the application inside.
        metrics: where requests are counted.
        behind_gateway: believe what the headers say of the caller.
        lines: where the log line goes.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: HttpMetrics,
        behind_gateway: bool = True,
        lines: RequestLines | None = None,
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.behind_gateway = behind_gateway
        self.lines = lines or RequestLines(metrics.process)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        context = self.identify(scope)
        began = self.begin()
        record = self.record(context, Timings(), scope)
        sending = record.wrap_send(send)
        tokens = bind(context), collect(record.timings)
        try:
            await self.app(scope, receive, sending)
            if record.head is not None:
                await send(record.head)  # a head without a body, as for a caller that is gone
        except Exception:
            logger.exception("unhandled error")
            if record.started and record.head is None:
                raise
            await _answer_internal_error(scope, record.context, sending)
        finally:
            uncollect(tokens[1])
            unbind(tokens[0])
            route = getattr(scope.get("route"), "path", None) or "unmatched"
            self.end(scope, record, route, began, time.perf_counter())

    def context_of(self, scope: Scope) -> RequestContext:
        """Who the request is, by its headers."""
        # Of a field that is given twice, the first counts.
        said = {name: value.decode("latin-1") for name, value in reversed(scope["headers"]) if name in _TOLD}
        prefix = path_prefix(said.get(_PREFIX, "")) if self.behind_gateway else scope.get(PREFIX_IN_SCOPE, "")
        context = new_context(
            request_id=said.get(b"x-request-id"),
            traceparent=said.get(b"traceparent"),
            tracestate=said.get(b"tracestate"),
            prefix=prefix,
        )
        if not self.behind_gateway:
            return context
        return context.on_behalf_of(
            said.get(_CALLER), job_limit=said.get(_JOB_LIMIT), creation_key=said.get(_CREATION_KEY)
        )

    def identify(self, scope: Scope) -> RequestContext:
        """The same, with whether it is recorded as a trace."""
        context = self.context_of(scope)
        if tracing.active is not None and scope["path"] not in _QUIET_PATHS:
            context = tracing.active.decide(context, from_strangers=not self.behind_gateway)
        return context

    def record(self, context: RequestContext, timings: Timings, scope: Scope) -> RequestRecord:
        """What is to be known of the answer; with the times of its phases, where a trace is recorded."""
        if tracing.active is not None and context.sampled and scope["path"] not in _QUIET_PATHS:
            timings.intervals = []
        return RequestRecord(context, timings)

    def begin(self) -> float:
        """A request came; returns when (`time.perf_counter`)."""
        self.metrics.begin()
        return time.perf_counter()

    def end(self, scope: Scope, record: RequestRecord, route: str, began: float, ended: float) -> None:
        """It was answered, between two instants (`time.perf_counter`): count it, and write its line."""
        seconds, timings = ended - began, record.timings
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self.metrics.end(method=method, route=route, status=record.status, seconds=seconds, timings=timings)
        if timings.intervals is not None:
            record_request(
                record.context, timings, method=method, route=route, status=record.status, began=began, ended=ended
            )
        if scope["path"] in _QUIET_PATHS:
            return
        phases = {phase: round(value * 1000, 1) for phase, value in timings.seconds.items()}
        line: dict[str, Any] = {
            "request_id": record.context.request_id,
            "trace_id": record.context.trace_id,
            "method": method,
            "route": route,
            "status": record.status,
            "ms": round(seconds * 1000, 1),
            "phases_ms": phases,
        }
        if (audit := scope.get(AUDIT_IN_SCOPE)) is not None:
            line["audit"] = audit
        self.lines.add(line)


AUDIT_IN_SCOPE: Final = "facet.audit"
"""Where the gateway puts what the audit log is told of a request, to be part of its line."""

_CALLER, _JOB_LIMIT, _CREATION_KEY, _PREFIX = (
    name.lower().encode() for name in (CALLER_HEADER, JOB_LIMIT_HEADER, CREATION_KEY_HEADER, PREFIX_HEADER)
)
_TOLD = frozenset({b"x-request-id", b"traceparent", b"tracestate", _CALLER, _JOB_LIMIT, _CREATION_KEY, _PREFIX})
_OWN = frozenset({b"x-request-id", b"traceparent", b"x-content-type-options"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


async def _answer_internal_error(scope: Scope, context: RequestContext, send: Send) -> None:
    problem = InternalError.unforeseen()
    body = (
        problem.details(instance=context.prefix + scope["path"], request_id=context.request_id)
        .model_dump_json()
        .encode()
    )
    headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
