"""Who a request is: its X-Request-ID, its W3C trace and its caller, carried to logs, jobs and onward calls."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final

_REQUEST_ID = re.compile(r"[!#-+\-./0-:=?-\[\]-~]{1,128}")
"""Visible ASCII, so that ids of load balancers (`Root=1-67..`) and in base64 are taken as they are, without quotation
marks, backslashes, commas, semicolons and angle brackets, by which readers of headers and logs part what they read."""
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)
_TRACESTATE_LIMIT = 512
_ODD = frozenset("13579bdf")
_CALLER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CREATION_KEY = re.compile(r"[0-9a-f]{64}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_PREFIX_LIMIT = 256

ANONYMOUS = "anonymous"
"""The caller where authentication is off."""

CALLER_HEADER = "Facet-Caller"
JOB_LIMIT_HEADER = "Facet-Job-Limit"
CREATION_KEY_HEADER = "Facet-Creation-Key"
PREFIX_HEADER = "X-Forwarded-Prefix"
"""What the gateway tells the services of a caller, and services believe. From strangers the gateway drops them."""

PREFIX_IN_SCOPE: Final = "facet.prefix"
"""Where the gateway's outermost layer puts the path prefix of a request. Not ASGI's `root_path`, which has to be at the
beginning of `path` too, and so of what scopes, quotas and the log are looked up by."""


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
    prefix: str = ""
    """What callers put before the gateway's paths, such as /facet, since a reverse proxy takes it away."""

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
        if self.prefix:
            headers[PREFIX_HEADER] = self.prefix
        return headers

    def on_behalf_of(
        self, caller: str | None, *, job_limit: str | None = None, creation_key: str | None = None
    ) -> RequestContext:
        """The same request with what the gateway said of its caller; what is not well formed counts as not said."""
        known = caller if caller and _CALLER.fullmatch(caller) else ANONYMOUS
        limit = int(job_limit) if job_limit and job_limit.isascii() and job_limit.isdigit() else None
        key = creation_key if creation_key and _CREATION_KEY.fullmatch(creation_key) else None
        return replace(self, caller=known, job_limit=limit, creation_key=key)


_current: ContextVar[RequestContext | None] = ContextVar("facet_request", default=None)


def _hexadecimal(bits: int) -> str:
    """Random digits that need not be secret; Python seeds their source from the system, after each fork anew."""
    return f"{random.getrandbits(bits):0{bits // 4}x}"


def new_context(
    *,
    request_id: str | None = None,
    traceparent: str | None = None,
    tracestate: str | None = None,
    prefix: str = "",
) -> RequestContext:
    """Identity for an incoming request.

    A request id that is not 1 to 128 visible ASCII characters (without quotation marks, backslashes, commas, semicolons
    and angle brackets), and an invalid or all-zero traceparent, are replaced, not refused: they are conveniences of the
    caller and no reason to fail. The id that counts is the one in the answer.

    Args:
        request_id: as the caller gave it.
        traceparent: W3C Trace Context, section 3.2; of a version after 00, what version 00 knows is read.
        tracestate: likewise.
        prefix: of paths, as `path_prefix` has found it to be good.
    """
    if request_id is None or not _REQUEST_ID.fullmatch(request_id):
        request_id = _hexadecimal(128)
    span_id = _hexadecimal(64)
    match = _parsed_traceparent(traceparent or "")
    if match is None:
        return RequestContext(request_id=request_id, trace_id=_hexadecimal(128), span_id=span_id, prefix=prefix)
    flags = match["flags"] if match["version"] == "00" else f"{match['flags'][1] in _ODD:02x}"
    state = tracestate if tracestate and len(tracestate) <= _TRACESTATE_LIMIT else None
    return RequestContext(request_id, match["trace"], span_id, flags, state, parent_id=match["parent"], prefix=prefix)


def _parsed_traceparent(given: str) -> re.Match[str] | None:
    match = _TRACEPARENT.fullmatch(given)
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["rest"]):
        return None
    return match if int(match["trace"], 16) and int(match["parent"], 16) else None


def path_prefix(given: str) -> str:
    """A path prefix out of X-Forwarded-Prefix, without a slash at its end; empty where it is none.

    Proxies in a row each add theirs, parted by commas. What is not plain path segments counts as not said, so that no
    prefix leads to another host or out of itself.
    """
    joined = "".join(part.strip().rstrip("/") for part in given.split(","))
    plain = len(joined) <= _PREFIX_LIMIT and _PREFIX.fullmatch(joined) and {".", ".."}.isdisjoint(joined.split("/"))
    return joined if plain else ""


def public_path(path: str) -> str:
    """A path of the gateway as the caller of the request at hand has to ask for it, for bodies of answers.

    In header fields (Location, Content-Location, Link) the gateway writes the prefix of all routes itself.
    """
    context = _current.get()
    return context.prefix + path if context else path


def current_context() -> RequestContext | None:
    """The request at hand, or None outside of one."""
    return _current.get()


def current_caller() -> str:
    """Who asks, as authenticated: the owner of what the request at hand creates."""
    context = current_context()
    return context.caller if context else ANONYMOUS


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
