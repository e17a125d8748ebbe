"""HEAD wherever GET is (RFC 9110, section 9.3.2): monitors and load balancers probe by it."""

from __future__ import annotations

from typing import Final

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BODY: Final = frozenset({"http.response.body", "http.response.pathsend"})


class HeadAsGet:
    """ASGI layer next to the routes: they see GET, the caller gets the header fields and no body.

    What is outside, the policy and the log among it, sees HEAD. An answer that would be streamed is cut off once it has
    begun, so that nobody follows events or reads a file for it.

    Args:
        app: the application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        with anyio.CancelScope() as answering:
            ended = False

            async def sending(message: Message) -> None:
                nonlocal ended
                if message["type"] not in _BODY:
                    await send(message)
                elif not ended:
                    ended = True
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    if message.get("more_body", False):
                        answering.cancel()

            inner = _as_get(scope)
            try:
                await self._app(inner, receive, sending)
            finally:
                # What routes and layers inside have found out, such as the route, is looked for out here.
                scope.update({name: value for name, value in inner.items() if name not in {"method", "headers"}})


def _as_get(scope: Scope) -> Scope:
    """The same request by GET. Range has a meaning for GET only (section 14.2) and would change the answer."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
    return dict(scope) | {"method": "GET", "headers": headers}
