"""Which header fields cross the gateway (RFC 9110, sections 7.6 and 7.8; RFC 7239 for `Forwarded`)."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Scope

from shared.request_context import RequestContext

RawHeaders = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings",
    }
)  # fmt: skip

# What frames a body is written by whoever writes the body, and what compresses it ended at the gateway.
_FRAMING = frozenset({b"content-length", b"content-encoding"})

# What says how the body is to be read, whom the request is for and what is wanted is end-to-end: a caller that names it
# in Connection does not make it go away (RFC 9110, section 7.6.1).
_NEVER_NOMINATED = frozenset(
    {
        b"accept", b"cache-control", b"content-type", b"if-match", b"if-none-match", b"if-range",
        b"inference-header-content-length", b"prefer", b"range", b"user-agent",
    }
)  # fmt: skip

# What the gateway says itself. A caller's word on where it comes from is dropped: the server in front of the
# application (uvicorn with its list of trusted proxies) has already put what can be believed into the scope.
_REPLACED_ONWARD = frozenset(
    {
        b"host", b"expect", b"x-request-id", b"traceparent", b"tracestate", b"forwarded", b"x-real-ip",
        b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto", b"x-forwarded-prefix",
        b"facet-caller", b"facet-job-limit", b"facet-creation-key", b"authorization", b"x-api-key",
        b"idempotency-key", b"facet-fleet-token",
    }
)  # fmt: skip

_DROPPED_ONWARD = _HOP_BY_HOP | _REPLACED_ONWARD | _FRAMING

# The gateway's own server writes these; the telemetry layer replaces X-Request-ID and traceparent.
_REPLACED_BACK = frozenset({b"date", b"server"})


def _nominated(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """What the Connection fields name as meant for this connection only."""
    return {
        name.strip().lower() for key, value in headers if key.lower() == b"connection" for name in value.split(b",")
    } - _NEVER_NOMINATED


def onward_headers(scope: Scope, *, host: bytes, context: RequestContext | None) -> RawHeaders:
    """Header fields of the request to the service, but those that frame its body.

    Args:
        scope: the request to the gateway.
        host: the service's own Host.
        context: identity of the request.
    """
    dropped = _DROPPED_ONWARD
    received = scope["headers"]
    if any(name == b"connection" for name, _ in received):
        dropped = dropped | _nominated(received)
    headers: RawHeaders = [(b"Host", host)]
    headers += [pair for pair in received if pair[0] not in dropped]
    headers += _forwarded(scope)
    if context is not None:
        headers += [(name.encode(), value.encode()) for name, value in context.onward_headers().items()]
    return headers


def _forwarded(scope: Scope) -> RawHeaders:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    scheme = scope.get("scheme", "http").encode("ascii")
    headers: RawHeaders = [(b"X-Forwarded-Proto", scheme)]
    pairs = [b"proto=" + scheme]
    if host:
        headers.append((b"X-Forwarded-Host", host))
        pairs.append(b'host="' + host.replace(b"\\", b"").replace(b'"', b"") + b'"')
    if scope.get("client"):
        client = scope["client"][0].encode("ascii", "replace")
        headers.append((b"X-Forwarded-For", client))
        pairs.insert(0, b'for="[' + client + b']"' if b":" in client else b'for="' + client + b'"')
    headers.append((b"Forwarded", b";".join(pairs)))
    return headers


def client_response_headers(headers: Iterable[tuple[bytes, bytes]], *, base: bytes) -> RawHeaders:
    """Header fields of the answer to the caller.

    Args:
        headers: as the service sent them.
        base: the service's own address; where a Location starts with it, only the path is kept, since the caller
            can neither reach nor should know the address.
    """
    received = list(headers)
    dropped = _HOP_BY_HOP | _REPLACED_BACK | (_nominated(received) - _FRAMING)
    kept: RawHeaders = []
    for name, value in received:
        lowered = name.lower()
        if lowered in dropped:
            continue
        if lowered in {b"location", b"content-location"} and value.startswith(base + b"/"):
            value = value[len(base) :]
        kept.append((lowered, value))
    return kept
