"""The spans that Facet makes, with the attributes of OpenTelemetry's semantic conventions for HTTP and for messaging.

Only templates of routes are recorded: paths and queries may hold what a caller wrote.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from shared.request_context import RequestContext, new_context
from shared.telemetry import tracing
from shared.telemetry.span_recording import Attributes, Span
from shared.telemetry.timing import Timings
from shared.telemetry.tracing import child_span


class Job(Protocol):
    """What is told of a job."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def kind(self) -> str:
        """What it does."""

    @property
    def queue(self) -> str:
        """Where its workers find it."""


_NS = 1_000_000_000

_TRIES, _UNDISTURBED_NS = 5, 20_000


def record_request(
    context: RequestContext, timings: Timings, *, method: str, route: str, status: int, began: float, ended: float
) -> None:
    """Record an answered request, and below it the phases that it went through.

    Args:
        context: whose it is.
        timings: its phases.
        method: of HTTP.
        route: its template.
        status: that was answered.
        began: when (`time.perf_counter`).
        ended: likewise.
    """
    if tracing.active is None:  # ended a moment ago
        return
    offset_ns = _wall_clock_offset_ns()
    interval = round(began * _NS) + offset_ns, round(ended * _NS) + offset_ns
    span = Span(tracing.active, f"{method} {route}", "server", context, *interval)
    span.attributes = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": status,
        "facet.request_id": context.request_id,
    }
    if status >= 500:
        _fail(span, str(status))
    model = _model_attributes(timings)
    for phase, entered, left in timings.intervals or ():
        part = child_span(context, phase, "internal", dict(model))
        if part is not None:
            part.began_ns, part.ended_ns = round(entered * _NS) + offset_ns, round(left * _NS) + offset_ns
            if phase == "infer" and timings.rows:
                part.attributes["facet.batch.rows"] = timings.rows
            part.end()
    span.attributes |= model
    span.end()


def _wall_clock_offset_ns() -> int:
    """Nanoseconds from `time.perf_counter` to the time since 1970.

    One for a request and all its phases, so that they lie in each other as they did. A thread may be put aside between
    two looks at two clocks: of a few tries the one that took least time counts.
    """
    best, offset = math.inf, 0
    for _ in range(_TRIES):
        before, now, after = time.perf_counter_ns(), time.time_ns(), time.perf_counter_ns()
        if after - before < best:
            best, offset = after - before, now - (before + after) // 2
        if best < _UNDISTURBED_NS:
            break
    return offset


def _model_attributes(timings: Timings) -> Attributes:
    if timings.model is None:
        return {}
    name, version = timings.model
    return {"facet.model.name": name, "facet.model.version": version}


def _fail(span: Span, kind: str) -> None:
    """The convention: `error.type` is a status code or the name of an exception."""
    span.attributes["error.type"] = kind
    span.error = kind


def begin_hop(context: RequestContext | None, *, method: str, service: str) -> Span | None:
    """The gateway's span of a request to a service. Its context is the one to send on."""
    return child_span(context, method, "client", {"http.request.method": method, "peer.service": f"facet-{service}"})


def end_hop(span: Span, status: int | None) -> None:
    """End it with the service's status, None where there was no answer."""
    if status is None:
        _fail(span, "no_answer")
    else:
        span.attributes["http.response.status_code"] = status
        if status >= 400:
            _fail(span, str(status))
    span.end()


def job_creation(context: RequestContext | None, *, kind: str, queue: str) -> Span | None:
    """The span in which a job is made. Every attempt is below it, however much later."""
    attributes = _messaging(queue, "create")
    attributes["facet.job.kind"] = kind
    return child_span(context, f"create {kind}", "producer", attributes)


@contextmanager
def job_attempt(context: RequestContext, job: Job, attempt: int) -> Iterator[Span | None]:
    """The span of one attempt at a job, in the worker; its context is the attempt's own."""
    if tracing.active is None or not context.sampled:
        yield None
        return
    attributes: Attributes = {"facet.job.id": job.id, "facet.job.kind": job.kind, "facet.job.attempt": attempt}
    attributes |= _messaging(job.queue, "process")
    with Span(tracing.active, f"process {job.kind}", "consumer", context, attributes=attributes) as span:
        yield span


def end_attempt(span: Span | None, outcome: str | None) -> None:
    """Say how an attempt ended; one whose worker is killed leaves no span, and the next has a higher number."""
    if span is not None and outcome is not None:
        span.attributes["facet.job.outcome"] = outcome
        if outcome == "failed":
            _fail(span, "job_failed")


def _messaging(queue: str, operation: str) -> Attributes:
    return {
        "messaging.system": "celery",
        "messaging.destination.name": queue,
        "messaging.operation.type": operation,
    }


def record_delivery(
    *, parent: str | None, sent_as: str | None, webhook: str, attempt: int, began_ns: int, status: int | None
) -> None:
    """Record one try to deliver a webhook. Not its address: such addresses hold secrets.

    Args:
        parent: `traceparent` of the job.
        sent_as: the `traceparent` that the receiver got.
        webhook: its id.
        attempt: number of the try, from 1.
        began_ns: when it began, nanoseconds since 1970.
        status: that was answered, None if nothing was.
    """
    if tracing.active is None or parent is None or sent_as is None:
        return
    _, trace_id, span_id, flags = sent_as.split("-")
    above = new_context(traceparent=parent)
    context = RequestContext(above.request_id, trace_id, span_id, flags, parent_id=above.parent_id)
    if not context.sampled:
        return
    span = Span(tracing.active, "POST", "client", context, began_ns)
    span.attributes = {
        "http.request.method": "POST",
        "peer.service": "webhook receiver",
        "facet.webhook.id": webhook,
        "http.request.resend_count": attempt - 1,
    }
    end_hop(span, status)
