"""What carries a request to a service: the seam between the gateway and an HTTP client.

A call may neither follow redirects nor keep cookies (they would be shared among all callers) nor decompress; a wire
does none of it. Tests put applications and scripted failures in place of sockets here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.request_bodies.reader import RequestBody

RawHeaders = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request to a service.

    Attributes:
        method: of HTTP.
        base: scheme and authority of the service, without a slash at the end.
        target: path and query, percent-encoded.
        headers: all but those that frame the body, which are written by whoever writes the body; Host among them.
        body: there in full.
        connect_timeout_s: seconds for a connection.
        answer_timeout_s: seconds until the answer begins, and between its parts.
    """

    method: str
    base: str
    target: str
    headers: RawHeaders
    body: RequestBody
    connect_timeout_s: float
    answer_timeout_s: float


class UpstreamResponse(Protocol):
    """The beginning of a service's answer; what follows is still on its way."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> RawHeaders:
        """Header fields as they came."""

    def whole(self) -> bytes | None:
        """The body, if all of it is here already; otherwise its parts are to be waited for."""

    def parts(self) -> AsyncIterator[bytes]:
        """The body, as it comes.

        Raises:
            TransportFailure: it broke off.
        """

    async def close(self) -> None:
        """Give the connection back, or close it where more would come."""


class UpstreamTransport(Protocol):
    """Carries requests."""

    async def open(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send a request and wait for the beginning of its answer.

        Raises:
            TransportFailure: there is none.
        """

    async def close(self) -> None:
        """Close all connections."""


class TransportFailure(Exception):
    """A service could not be asked, or did not answer."""


class Unreachable(TransportFailure):
    """There was no connection: nothing was sent."""


class PoolExhausted(TransportFailure):
    """As many requests are under way as may be."""


class TimedOut(TransportFailure):
    """The service took too long to read or to answer."""


class ConnectionBroken(TransportFailure):
    """The connection ended, or what came is not HTTP."""
