"""One attempt of a delivery: signed, posted to a checked address, and what came back, all within one time limit."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpcore
import httpx

from shared.webhooks.records import ANSWER_KEPT, DeliveryAttempt
from shared.webhooks.schedule import parse_retry_after
from shared.webhooks.signing import signature_headers
from shared.webhooks.ssrf_guard import GuardedNetwork, Refused, SsrfGuard

_ANSWER_READ = 64 * 1024
_GONE = 410
_FAULTS = (Refused, httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, ssl.SSLError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be posted."""

    id: str
    url: str
    body: bytes
    secrets: Sequence[str]
    traceparent: str | None = None
    tracestate: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """How an attempt ended."""

    attempt: DeliveryAttempt
    retry_after_s: float | None = None

    @property
    def is_delivered(self) -> bool:
        """The receiver took it."""
        return self.attempt.status_code is not None and 200 <= self.attempt.status_code < 300

    @property
    def is_gone(self) -> bool:
        """The receiver wants no more."""
        return self.attempt.status_code == _GONE


class Sender:
    """Posts messages, each over a connection of its own: no proxies of the environment, no redirects, no cookies.

    Args:
        guard: where they may go.
        timeout_s: for everything from resolving the name to the end of the answer.
        version: of Facet, for User-Agent.
    """

    def __init__(self, guard: SsrfGuard, *, timeout_s: float, version: str) -> None:
        self._guard = guard
        self._timeout_s = timeout_s
        self._agent = f"Facet/{version} (webhooks)"
        self._tls = httpx.create_ssl_context()

    async def send(self, message: Message) -> Sent:
        """Post a message once; whatever goes wrong is in what is returned."""
        at, began = datetime.now(UTC), time.monotonic()
        status_code = answer = error = retry_after = None
        try:
            async with asyncio.timeout(self._timeout_s):
                status_code, headers, answer = await self._post(message, timestamp=int(at.timestamp()))
            retry_after = parse_retry_after(headers.get("retry-after"))
            if 300 <= status_code < 400:
                error = "Redirects are not followed."
        except TimeoutError:
            error = f"There was no complete answer within {self._timeout_s:g} s."
        except (
            Refused,
            httpcore.NetworkError,
            httpcore.TimeoutException,
            httpcore.ProtocolError,
            ssl.SSLError,
        ) as fault:
            error = _describe(fault)
        attempt = DeliveryAttempt(
            at=at.isoformat(timespec="milliseconds"),
            duration_ms=round((time.monotonic() - began) * 1000),
            status_code=status_code,
            error=error,
            answer=answer,
        )
        return Sent(attempt, retry_after)

    async def _post(self, message: Message, *, timestamp: int) -> tuple[int, httpx.Headers, str]:
        url = self._guard.parse(message.url)
        network = GuardedNetwork(self._guard, plain=url.scheme == "http")
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        headers = self._headers(message, timestamp) | {"Host": url.netloc.decode("ascii")}
        async with (
            httpcore.AsyncConnectionPool(self._tls, network_backend=network) as connections,
            connections.stream("POST", target, headers=list(_encoded(headers)), content=message.body) as response,
        ):
            return response.status, httpx.Headers(response.headers), await _beginning(response)

    def _headers(self, message: Message, timestamp: int) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(message.body)),
            "Accept-Encoding": "identity",
            "User-Agent": self._agent,
        }
        headers |= {"traceparent": message.traceparent} if message.traceparent else {}
        headers |= {"tracestate": message.tracestate} if message.tracestate else {}
        return headers | signature_headers(
            message.secrets, message_id=message.id, timestamp=timestamp, body=message.body
        )


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]


async def _beginning(response: httpcore.Response) -> str:
    """The beginning of the answer; a long one is not read to its end."""
    received = b""
    async for chunk in response.aiter_stream():
        received += chunk
        if len(received) >= _ANSWER_READ:
            break
    return received.decode("utf-8", "replace")[:ANSWER_KEPT].replace("\x00", "\ufffd")


def _describe(fault: Exception) -> str:
    """What went wrong, in words of ours: messages of the system may name inner addresses."""
    if isinstance(fault, Refused):
        return str(fault)
    handshake = next((cause for cause in _causes(fault) if isinstance(cause, ssl.SSLError)), None)
    if handshake is not None:
        reason = getattr(handshake, "verify_message", None) or handshake.reason or "the handshake was broken off"
        return f"TLS failed: {reason}."
    if isinstance(fault, httpcore.ConnectError | httpcore.ConnectTimeout):
        return "No connection could be made."
    if isinstance(fault, httpcore.ProtocolError):
        return "The answer is not HTTP, or ended early."
    return "The connection broke."


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__ or fault.__context__
