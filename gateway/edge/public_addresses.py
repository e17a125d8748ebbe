"""Where callers find the gateway when a reverse proxy serves it below a path, such as https://example.org/facet.

The prefix is known in one place, the outermost layer: from X-Forwarded-Prefix of a trusted proxy, else from the path of
the setting `public_url`. From there it goes into the context of the request (`request_context.public_path` writes it
into bodies, here and in the services, which are told), and onto the paths in Location, Content-Location and Link of
every answer. Routes, scopes, quotas and the log know nothing of it.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.request_context import PREFIX_IN_SCOPE, path_prefix
from shared.settings import Settings

_ROOTS: Final = frozenset({"v1", "v2", "docs", "health", "metrics", "openapi.json", "console"})
"""First segments of the gateway's own paths: below a prefix that begins with one, a path is not known to hold it."""

_PATH: Final = re.compile(rb"/(?![/\\]).*", re.DOTALL)
_LINK_TARGET: Final = re.compile(rb"<(/(?![/\\])[^>]*)>")


class PublicAddresses:
    """The outermost ASGI layer of the gateway.

    A proxy may take the prefix away from the path or leave it there: both are answered, and so is a caller who follows
    a path of an answer on the gateway's own port.

    Args:
        app: the application inside.
        settings: `public_url` and `trusted_proxies`.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._prefix = path_prefix(urlsplit(settings.public_url).path)
        self._proxies = settings.trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        prefix = self._prefix_of(scope) if scope["type"] == "http" else ""
        if not prefix:
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [_public(field, prefix.encode()) for field in message.get("headers", ())]
            await send(message)

        await self._app(_without(scope, prefix), receive, sending)

    def _prefix_of(self, scope: Scope) -> str:
        given = [value for name, value in scope["headers"] if name == b"x-forwarded-prefix"]
        if given and self._trusts(scope):
            return path_prefix(b",".join(given).decode("latin-1"))
        return self._prefix

    def _trusts(self, scope: Scope) -> bool:
        client = scope.get("client")
        try:
            address = ip_address(client[0]) if client else None
        except ValueError:
            return False
        return address is not None and any(address in network for network in self._proxies)


def _without(scope: Scope, prefix: str) -> Scope:
    """The scope as the application is to see it."""
    inner = dict(scope) | {PREFIX_IN_SCOPE: prefix}
    path, raw = scope["path"], scope.get("raw_path") or scope["path"].encode()
    if prefix.split("/")[1] in _ROOTS or not f"{path}/".startswith(f"{prefix}/") or not raw.startswith(prefix.encode()):
        return inner
    return inner | {"path": path[len(prefix) :] or "/", "raw_path": raw[len(prefix) :] or b"/"}


def _public(field: tuple[bytes, bytes], prefix: bytes) -> tuple[bytes, bytes]:
    """A header field of the answer, with the prefix before paths of the gateway."""
    name, value = field
    if name in {b"location", b"content-location"} and _PATH.fullmatch(value):
        return name, prefix + value
    if name == b"link":
        return name, _LINK_TARGET.sub(lambda match: b"<" + prefix + match[1] + b">", value)
    return field
