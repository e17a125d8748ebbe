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
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal, Self, TypeVar

import anyio.to_thread

from shared.http.context import RequestContext
from shared.settings import Settings

SpanKind = Literal["server", "client", "internal", "producer", "consumer"]
Attributes = dict[str, str | int | float | bool]
App = TypeVar("App")

_NEEDED = {
    "console": ("opentelemetry.sdk",),
    "otlp": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
}


class TracingUnavailable(Exception):
    """Tracing is asked for, and what it needs is not installed."""


@dataclass(slots=True, eq=False)
class Span:
    """One piece of work, recorded when it ends. As a context manager it ends with its block.

    Attributes:
        tracer: takes it in the end.
        name: as in OpenTelemetry, of few different values.
        kind: as in OpenTelemetry.
        context: its ids; what is made on its behalf carries them on.
        began_ns: nanoseconds since 1970.
        ended_ns: likewise, once it has ended.
        attributes: of the semantic conventions, or `facet.*`; no query, no file name, nothing of a patient.
        events: instants with a name.
        error: set when it failed; a word, never a message that could hold something of the input.
    """

    tracer: Tracer
    name: str
    kind: SpanKind
    context: RequestContext
    began_ns: int = field(default_factory=time.time_ns)
    ended_ns: int = 0
    attributes: Attributes = field(default_factory=dict)
    events: list[tuple[int, str, Attributes]] = field(default_factory=list)
    error: str | None = None
    _token: Token[Span | None] | None = None

    def event(self, name: str, attributes: Attributes) -> None:
        """Note that something happened now."""
        self.events.append((time.time_ns(), name, attributes))

    def end(self) -> None:
        """Hand it to the exporter's queue."""
        self.ended_ns = self.ended_ns or time.time_ns()
        self.tracer.record(self)

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
        if kind is not None and self.error is None:
            self.error = kind.__name__
        self.end()


@dataclass(frozen=True, slots=True)
class Tracer:
    """Decides what is recorded.

    Attributes:
        share: of the requests whose trace begins here, 0 to 1.
        record: takes a span that has ended; does not block.
        close: exports what waits, for a few seconds at most.
    """

    share: float
    record: Callable[[Span], None]
    close: Callable[[], None]

    def decide(self, context: RequestContext, *, door: bool) -> RequestContext:
        """The request with the sampled flag that says whether it is recorded.

        Args:
            context: of a request that has just come.
            door: it comes from strangers, whose flag may only say no.
        """
        followed = context.parent_id is not None
        if followed and not (door and context.sampled):
            return context
        sampled = random.random() < self.share
        if sampled == context.sampled:
            return context
        flags = int(context.trace_flags, 16) & ~1 | sampled
        return replace(context, trace_flags=f"{flags:02x}")


active: Tracer | None = None
"""The tracer of this process; None while tracing is off."""

_current: ContextVar[Span | None] = ContextVar("facet_span", default=None)


def child_span(context: RequestContext | None, name: str, kind: SpanKind, attributes: Attributes) -> Span | None:
    """A span below the work at hand that has just begun; None where nothing is recorded."""
    if active is None or context is None or not context.sampled:
        return None
    below = replace(context, span_id=secrets.token_hex(8), parent_id=context.span_id)
    return Span(active, name, kind, below, attributes=attributes)


def add_event(name: str, attributes: Attributes) -> None:
    """Note that something happened now, in the span whose block this is in."""
    span = _current.get() if active is not None else None
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
