"""Spans to OpenTelemetry: the one module that imports it, and only where tracing is on.

The spans are made here when they have ended, out of ids and times that Facet keeps anyway, so no context of
OpenTelemetry's has to be carried along. Export happens in a thread of the SDK; a full queue drops spans.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from importlib.metadata import version

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from shared.settings import Settings
from shared.telemetry.span_recording import Span

_EVERY_MS = 1000
_QUEUE = 8192
_BATCH = 512
_TIMEOUT_S = 5.0
_GRACE_S = 4.0
"""Seconds that a process waits for its last spans to be taken, below the time that servers get to end."""

_KINDS = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class Exporter:
    """Exports the spans of one process in the background.

    Args:
        process: name of the process.
        exporter: where they go.
    """

    def __init__(self, process: str, exporter: SpanExporter) -> None:
        release = version("facet")
        self._scope = InstrumentationScope("facet", release)
        self._resource = Resource.create(
            {
                "service.name": f"facet-{process}",
                "service.namespace": "facet",
                "service.version": release,
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            }
        )
        self._processor = BatchSpanProcessor(
            exporter, max_queue_size=_QUEUE, schedule_delay_millis=_EVERY_MS, max_export_batch_size=_BATCH
        )

    def record(self, span: Span) -> None:
        """Put a span that has ended into the queue."""
        self._processor.on_end(self._converted(span))

    def close(self) -> None:
        """Export what waits; an exporter that is down may not hold up the end of the process."""
        closing = threading.Thread(target=self._processor.shutdown, name="end of tracing", daemon=True)
        closing.start()
        closing.join(_GRACE_S)

    def _converted(self, span: Span) -> ReadableSpan:
        context = span.context
        parent = None
        if context.parent_id is not None:
            parent = _span_context(context.trace_id, context.parent_id, is_remote=span.kind in {"server", "consumer"})
        return ReadableSpan(
            name=span.name,
            context=_span_context(context.trace_id, context.span_id, is_remote=False),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            events=[Event(name, attributes, timestamp=at_ns) for at_ns, name, attributes in span.events],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=span.began_ns,
            end_time=span.ended_ns,
            instrumentation_scope=self._scope,
        )


def _span_context(trace_id: str, span_id: str, *, is_remote: bool) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, TraceFlags(TraceFlags.SAMPLED))


def open_exporter(process: str, settings: Settings) -> Exporter:
    """The exporter that the settings name. The environment variables of OpenTelemetry hold for what they do not say,
    such as OTEL_EXPORTER_OTLP_HEADERS.
    """
    if settings.tracing == "console":
        return Exporter(process, ConsoleSpanExporter(out=sys.stderr, formatter=_one_line))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    # Says once per attempt that it will try again, and once more when it gives up: the latter will do.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
    endpoint = f"{settings.tracing_endpoint.rstrip('/')}/v1/traces"
    return Exporter(process, OTLPSpanExporter(endpoint=endpoint, timeout=_TIMEOUT_S))


def _one_line(span: ReadableSpan) -> str:
    text: str = span.to_json(indent=None)
    return text + "\n"
