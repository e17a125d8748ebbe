"""Who a request is: its X-Request-ID, its W3C trace and its caller, carried to logs, jobs and onward calls."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_TRACESTATE_LIMIT = 512
_ODD = frozenset("13579bdf")
_CALLER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CREATION_KEY = re.compile(r"[0-9a-f]{64}")

ANONYMOUS = "anonymous"
"""The caller where authentication is off."""

CALLER_HEADER = "Facet-Caller"
JOB_LIMIT_HEADER = "Facet-Job-Limit"
CREATION_KEY_HEADER = "Facet-Creation-Key"
"""What the gateway tells the services of a caller, and services believe. From strangers the gateway drops them."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Identity of one request or job attempt."""

    request_id: str
    """Echoed as X-Request-ID."""
    trace_id: str
    """32 hex digits shared by every hop (W3C Trace Context)."""
    span_id: str
    """16 hex digits of this hop."""
    trace_flags: str = "00"
    """Two hex digits; the sampled bit of strangers is passed on and not acted on, beyond `shared.telemetry.tracing`."""
    tracestate: str | None = None
    """Vendor state, passed on unread."""
    caller: str = ANONYMOUS
    """Who asks, as authenticated by the gateway: the owner of the jobs that the request creates."""
    job_limit: int | None = None
    """Unfinished jobs that the caller may have at once; None without a limit."""
    parent_id: str | None = None
    """16 hex digits of the hop before this one, as its traceparent says; None at the beginning of a trace."""
    creation_key: str | None = None
    """64 hex digits: requests with the same key create one job between them. From the Idempotency-Key."""

    @property
    def sampled(self) -> bool:
        """Whether the sampled bit is set. Where tracing is on, it says whether this is recorded."""
        return self.trace_flags[1] in _ODD

    @property
    def traceparent(self) -> str:
        """The header for calls made on behalf of this request."""
        return f"00-{self.trace_id}-{self.span_id}-{self.trace_flags}"

    def onward_headers(self) -> dict[str, str]:
        """Headers that tie an onward call to this request."""
        headers = {"X-Request-ID": self.request_id, "traceparent": self.traceparent}
        if self.tracestate:
            headers["tracestate"] = self.tracestate
        headers[CALLER_HEADER] = self.caller
        if self.job_limit is not None:
            headers[JOB_LIMIT_HEADER] = str(self.job_limit)
        if self.creation_key is not None:
            headers[CREATION_KEY_HEADER] = self.creation_key
        return headers

    def on_behalf_of(
        self, caller: str | None, *, job_limit: str | None = None, creation_key: str | None = None
    ) -> RequestContext:
        """The same request with what the gateway said of its caller; what is not well formed counts as not said."""
        known = caller if caller and _CALLER.fullmatch(caller) else ANONYMOUS
        limit = int(job_limit) if job_limit and job_limit.isascii() and job_limit.isdigit() else None
        key = creation_key if creation_key and _CREATION_KEY.fullmatch(creation_key) else None
        return RequestContext(
            request_id=self.request_id,
            trace_id=self.trace_id,
            span_id=self.span_id,
            trace_flags=self.trace_flags,
            tracestate=self.tracestate,
            parent_id=self.parent_id,
            caller=known,
            job_limit=limit,
            creation_key=key,
        )


_current: ContextVar[RequestContext | None] = ContextVar("facet_request", default=None)


def _hexadecimal(bits: int) -> str:
    """Random digits that need not be secret; Python seeds their source from the system, after each fork anew."""
    return f"{random.getrandbits(bits):0{bits // 4}x}"


def new_context(
    *, request_id: str | None = None, traceparent: str | None = None, tracestate: str | None = None
) -> RequestContext:
    """Identity for an incoming request.

    A request id outside ``[A-Za-z0-9._-]{1,64}`` and an invalid or all-zero traceparent are replaced, not
    refused: they are conveniences of the caller and no reason to fail.
    """
    if request_id is None or not _REQUEST_ID.fullmatch(request_id):
        request_id = _hexadecimal(128)
    span_id = _hexadecimal(64)
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None or not int(match["trace"], 16) or not int(match["parent"], 16):
        return RequestContext(request_id=request_id, trace_id=_hexadecimal(128), span_id=span_id)
    state = tracestate if tracestate and len(tracestate) <= _TRACESTATE_LIMIT else None
    return RequestContext(request_id, match["trace"], span_id, match["flags"], state, parent_id=match["parent"])


def current_context() -> RequestContext | None:
    """The request at hand, or None outside of one."""
    return _current.get()


bind = _current.set
unbind = _current.reset
"""Make a context current, and what was before it again; `bound` where a few microseconds do not matter."""


@contextmanager
def bound(context: RequestContext) -> Iterator[None]:
    """Make `context` current for what runs inside."""
    token = bind(context)
    try:
        yield
    finally:
        unbind(token)


def log_bindings() -> dict[str, str]:
    """Members that every log line of the current request carries."""
    context = current_context()
    return {} if context is None else {"request_id": context.request_id, "trace_id": context.trace_id}
