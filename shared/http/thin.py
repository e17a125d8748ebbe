"""Routes without FastAPI's machinery around them, for what is called thousands of times a second.

A thin route is put in front of the documented one, which has the same endpoint and is never reached: no dependencies,
no validation, no response model, a third of the time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class ThinRoute(Route):
    """A route whose endpoint gets the request as it is.

    Args:
        path: its template.
        endpoint: answers; problems that it raises are answered like those of any route.
        method: of HTTP.
    """

    def __init__(self, path: str, endpoint: Endpoint, *, method: str) -> None:
        super().__init__(path, _Application(endpoint), methods=[method], include_in_schema=False)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; metrics and logs know it by its template."""
        scope["route"] = self
        await self.app(scope, receive, send)


class _Application:
    """An endpoint as an ASGI application; an object, as Starlette takes functions for something else."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._endpoint(Request(scope, receive))
        await response(scope, receive, send)


async def read_body(request: Request) -> bytes:
    """The whole body; not copied where it came in one part."""
    message = await request.receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        return body
    parts = [message.get("body", b"")]
    while message["type"] == "http.request" and message.get("more_body", False):
        message = await request.receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)
