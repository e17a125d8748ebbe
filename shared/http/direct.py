"""Busy routes, answered from bytes to bytes without a framework in between.

What FastAPI does for a request (matching, dependencies, models in and out) costs more than a small network. Routes that
are called thousands of times in a second read the body and write the answer themselves; identity, limits, problems,
metrics and log are those of all routes, as the layers around are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.errors import problem_response
from shared.problems import Problem

RawHeaders = Sequence[tuple[bytes, bytes]]
Body = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class DirectRequest:
    """A request whose body is there.

    Attributes:
        scope: of ASGI.
        parameters: what the path holds.
        headers: fields by name in small letters; of a repeated one the last.
        body: all of it.
    """

    scope: Scope
    parameters: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """An answer.

    Attributes:
        status: of HTTP.
        headers: names in small letters, without Content-Length.
        body: all of it.
    """

    status: int
    body: bytes
    headers: RawHeaders = field(default=())


class DirectRoute(Protocol):
    """A route.

    Attributes:
        path: its template, for metrics and logs; found at `scope["route"]`.
    """

    path: str

    def match(self, scope: Scope) -> Mapping[str, str] | None:
        """The parameters in the path; None where the request is not for this route."""

    async def answer(self, request: DirectRequest) -> DirectResponse:
        """Answer; problems are answered like those of any route."""


class DirectRoutes:
    """ASGI layer that answers these routes, the innermost before the framework.

    Args:
        app: the application inside.
        routes: tried in order.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[DirectRoute]) -> None:
        self._app, self._routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            for route in self._routes:
                parameters = route.match(scope)
                if parameters is not None:
                    scope["route"] = route
                    await _serve(route, scope, parameters, receive, send)
                    return
        await self._app(scope, receive, send)


async def _serve(route: DirectRoute, scope: Scope, parameters: Mapping[str, str], receive: Receive, send: Send) -> None:
    body = await _read(receive)
    if body is None:
        return
    try:
        response = await route.answer(DirectRequest(scope, parameters, dict(scope["headers"]), body))
    except Problem as problem:
        await problem_response(problem, path=scope["path"])(scope, receive, send)
        return
    length = (b"content-length", str(len(response.body)).encode())
    await send({"type": "http.response.start", "status": response.status, "headers": [*response.headers, length]})
    await send({"type": "http.response.body", "body": response.body})


async def _read(receive: Receive) -> bytes | None:
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
