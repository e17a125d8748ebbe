"""Stand-ins for services: an application that answers as told, and a transport that fails as told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from starlette.types import Receive, Scope, Send

from gateway.upstream.services import Upstreams
from shared.settings import DOMAINS, Settings

Answer = Callable[[httpx.Request], httpx.Response]


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, blob_url="memory://gateway-tests", **values)


@dataclass
class StubService:
    """Answers the same to everything and remembers what it was asked."""

    status: int = 200
    headers: Iterable[tuple[bytes, bytes]] = ()
    body: bytes = b"{}"
    scopes: list[Scope] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        await send({"type": "http.response.body", "body": self.body})

    @property
    def received(self) -> httpx.Headers:
        """Header fields of the latest request."""
        return httpx.Headers(self.scopes[-1]["headers"])


class ScriptedTransport(httpx.AsyncBaseTransport):
    """Answers or raises as told, in turn; the last entry repeats."""

    def __init__(self, *outcomes: httpx.Response | Exception) -> None:
        self.outcomes = list(outcomes)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class FleetTransport(httpx.AsyncBaseTransport):
    """JSON documents by domain and path; an exception in their place is raised."""

    def __init__(self, documents: dict[tuple[str, str], Any], *, statuses: dict[str, int] | None = None) -> None:
        self.documents = documents
        self.statuses = statuses or {}
        self.asked: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        upstreams = Upstreams(settings())
        domain = next(domain for domain in DOMAINS if upstreams.urls[domain].endswith(f":{request.url.port}"))
        self.asked.append((domain, request.url.path))
        document = self.documents.get((domain, request.url.path), httpx.ConnectError("refused"))
        if isinstance(document, Exception):
            raise document
        content = document if isinstance(document, bytes) else orjson.dumps(document)
        return httpx.Response(self.statuses.get(domain, 200), content=content)
