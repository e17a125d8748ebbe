"""Spans while they are recorded, and the tracer that decides which are (`shared.telemetry.exporting` exports them)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal, Self

from shared.request_context import RequestContext

SpanKind = Literal["server", "client", "internal", "producer", "consumer"]
Attributes = dict[str, str | int | float | bool]


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

    def decide(self, context: RequestContext, *, from_strangers: bool) -> RequestContext:
        """The request with the sampled flag that says whether it is recorded.

        Args:
            context: of a request that has just come.
            from_strangers: it comes from strangers, whose flag may only say no.
        """
        followed = context.parent_id is not None
        if followed and not (from_strangers and context.sampled):
            return context
        sampled = random.random() < self.share
        if sampled == context.sampled:
            return context
        flags = int(context.trace_flags, 16) & ~1 | sampled
        return replace(context, trace_flags=f"{flags:02x}")


_current: ContextVar[Span | None] = ContextVar("facet_span", default=None)


def current_span() -> Span | None:
    """The span whose block this is in."""
    return _current.get()
