"""Traces, off by default: who records, which traces are recorded, and the spans on their way to the exporter.

A span has the ids that a `RequestContext` has anyway, so `traceparent` is the same whether anything is recorded or not.
While tracing is off, `active` is None: nothing else is looked at, and Facet imports nothing of OpenTelemetry
(`shared.telemetry.exporting` is the one module that does).

**Which traces are recorded.** The gateway draws: each request is recorded with the probability FACET_TRACING_SAMPLE.
The draw looks neither at the sampled flag of the caller nor at its trace id, as both are in a stranger's hand: with a
sampler that goes by them, anybody could have everything recorded. A caller that says "not sampled" is heeded, which
costs nothing. What the gateway drew goes on in the sampled flag of `traceparent` to services, jobs and webhooks
(W3C Trace Context, section 3.2.2.5.1), and they follow it; a service that is asked past the gateway and without a trace
draws itself.
"""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import anyio.to_thread

from shared.request_context import RequestContext
from shared.settings import Settings
from shared.telemetry.span_recording import Attributes, Span, SpanKind, Tracer, current_span

App = TypeVar("App")

_NEEDED = {
    "console": ("opentelemetry.sdk",),
    "otlp": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
}


class TracingUnavailable(Exception):
    """Tracing is asked for, and what it needs is not installed."""


active: Tracer | None = None
"""The tracer of this process; None while tracing is off."""


def child_span(context: RequestContext | None, name: str, kind: SpanKind, attributes: Attributes) -> Span | None:
    """A span below the work at hand that has just begun; None where nothing is recorded."""
    if active is None or context is None or not context.sampled:
        return None
    below = replace(context, span_id=secrets.token_hex(8), parent_id=context.span_id)
    return Span(active, name, kind, below, attributes=attributes)


def add_event(name: str, attributes: Attributes) -> None:
    """Note that something happened now, in the span whose block this is in."""
    span = current_span() if active is not None else None
    if span is not None:
        span.event(name, attributes)


def require_tracing(settings: Settings) -> None:
    """Check that what the settings ask for can be done.

    Raises:
        TracingUnavailable: packages are missing.
    """
    missing = [name for name in _NEEDED.get(settings.tracing, ()) if not _is_installed(name)]
    if missing:
        raise TracingUnavailable(
            f"FACET_TRACING={settings.tracing} needs packages that are not installed ({', '.join(missing)}): "
            'pip install -c requirements.lock -e ".[tracing]"'
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of one of the packages around it
        return False


def start_tracing(process: str, settings: Settings) -> None:
    """Record from now on, if the settings say so. Call it after any fork: the exporter has a thread.

    Args:
        process: name of this process, such as "gateway".
        settings: exporter, endpoint and share.

    Raises:
        TracingUnavailable: packages are missing.
    """
    global active  # noqa: PLW0603 - one tracer a process, as one log
    if settings.tracing == "off":
        return
    require_tracing(settings)
    from shared.telemetry.exporting import open_exporter

    exporter = open_exporter(process, settings)
    active = Tracer(settings.tracing_sample, exporter.record, exporter.close)


def stop_tracing() -> None:
    """Record nothing more, and export what waits."""
    global active
    tracer, active = active, None
    if tracer is not None:
        tracer.close()


def traced_lifespan(
    lifespan: Callable[[App], AbstractAsyncContextManager[None]], process: str, settings: Settings
) -> Callable[[App], AbstractAsyncContextManager[None]]:
    """The lifespan of an application, with tracing around it if that is on."""
    if settings.tracing == "off":
        return lifespan
    require_tracing(settings)

    @asynccontextmanager
    async def wrapped(app: App) -> AsyncIterator[None]:
        start_tracing(process, settings)
        try:
            async with lifespan(app):
                yield
        finally:
            await anyio.to_thread.run_sync(stop_tracing)

    return wrapped
