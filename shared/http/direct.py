"""Busy routes, found and answered without the framework.

FastAPI matches every route of every router in turn, and solves the dependencies of the one that it finds: half a
millisecond, as long as a small network takes. Routes that are called thousands of times in a second read requests and
write answers themselves; identity, limits, problems, metrics and log are those of all routes, as the layers around are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.errors import problem_response
from shared.problems import Problem

RawHeaders = Sequence[tuple[bytes, bytes]]
Body = bytes | bytearray | memoryview
Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


class DirectRoute(Protocol):
    """One or several routes."""

    def find(self, scope: Scope) -> Answer | None:
        """What answers a request, with `scope["route"]` set for metrics and logs; None where it is for others."""


class DirectRoutes:
    """ASGI layer that answers these routes, the innermost before the framework.

    Args:
        app: the application inside; it has the same routes, for its documentation and for other methods.
        routes: tried in order.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[DirectRoute]) -> None:
        self._app, self._routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            for route in self._routes:
                if (answer := route.find(scope)) is not None:
                    try:
                        await answer(scope, receive, send)
                    except Problem as problem:
                        await problem_response(problem, path=scope["path"])(scope, receive, send)
                    return
        await self._app(scope, receive, send)


class EndpointsByPath:
    """Routes without parameters in their path, whose endpoints take a request and give a response.

    Args:
        routes: by path.
    """

    def __init__(self, routes: Mapping[str, APIRoute]) -> None:
        self._routes = routes

    def find(self, scope: Scope) -> Answer | None:
        """What answers a request for one of the paths."""
        route = self._routes.get(scope["path"])
        if route is None:
            return None
        scope["route"] = route

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            response = await route.endpoint(Request(scope, receive, send))
            await response(scope, receive, send)

        return answer


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """An answer.

    Attributes:
        status: of HTTP.
        body: all of it.
        headers: names in small letters, without Content-Length.
    """

    status: int
    body: bytes
    headers: RawHeaders = field(default=())

    async def send(self, send: Send) -> None:
        """Write it."""
        length = (b"content-length", str(len(self.body)).encode())
        await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers, length]})
        await send({"type": "http.response.body", "body": self.body})


async def read_body(receive: Receive) -> bytes | None:
    """The body; not copied where it came in one part. None if the caller left before its end."""
    message: Message = await receive()
    parts: list[bytes] = []
    while message["type"] == "http.request" and message.get("more_body", False):
        parts.append(message.get("body", b""))
        message = await receive()
    if message["type"] != "http.request":
        return None
    last: bytes = message.get("body", b"")
    return b"".join([*parts, last]) if parts else last
