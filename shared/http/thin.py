"""Routes without FastAPI's machinery around them, for what is called thousands of times a second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class ThinRoute(APIRoute):
    """A route whose endpoint gets the request as it is: no dependencies, no validation, no response model.

    It is documented like any other; what it declares as `responses` and `openapi_extra` is all that is known of it.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        serve = cast("Endpoint", endpoint)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            response = await serve(Request(scope, receive))
            await response(scope, receive, send)

        self.app = app


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
