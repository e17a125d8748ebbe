"""Answers in gzip for callers that take it (RFC 9110, section 12.5.3): JSON and text, never events, pictures, arrays.

Starlette's responders do the work, large parts in a thread; what is decided here is which answers they get. Files of
jobs are left alone, as parts of them can be asked for by Range.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LEAST_BYTES: Final = 1024
_LEVEL: Final = 5
"""Of zlib: level 9 takes three times as long for one percent of JSON."""


class Compression:
    """The ASGI layer.

    Args:
        app: the application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or _is_read_as_it_comes(scope["path"]):
            await self._app(scope, receive, send)
            return
        if not accepts_gzip(_accept_encoding(scope)):
            await self._app(scope, receive, _varying(send))
            return
        responder = GZipResponder(self._app, _LEAST_BYTES, compresslevel=_LEVEL)
        responder.send = send
        way = send

        async def sending(message: Message) -> None:
            nonlocal way
            if message["type"] == "http.response.start" and is_compressible(Headers(raw=message.get("headers", []))):
                way = responder.send_with_compression
                _weaken_etag(message)
            await way(message)

        await self._app(scope, receive, sending)


def _is_read_as_it_comes(path: str) -> bool:
    """Whether clients read the answer without a look at its coding.

    tritonclient's asynchronous client lets aiohttp say that it takes gzip, and inflates answers to inference alone.
    """
    return path.startswith("/v2") and not path.endswith("/infer")


def _varying(send: Send) -> Send:
    """The same way out; caches are told that other callers may get other bytes."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and is_compressible(Headers(raw=message.get("headers", []))):
            MutableHeaders(scope=message).add_vary_header("Accept-Encoding")
        await send(message)

    return sending


def _accept_encoding(scope: Scope) -> str:
    return ", ".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-encoding")


def is_compressible(headers: Headers) -> bool:
    """Whether an answer with these header fields is text of some length."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    length = headers.get("content-length", "")
    textual = kind == "application/json" or kind.endswith("+json") or kind.startswith("text/")
    small = length.isdigit() and int(length) < _LEAST_BYTES
    return textual and kind != "text/event-stream" and not small and "accept-ranges" not in headers


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a caller with this Accept-Encoding takes gzip; without one it may be a program that cannot read it."""
    if not accept_encoding:
        return False
    qualities: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        coding, _, parameter = item.partition(";")
        name, _, value = parameter.strip().partition("=")
        try:
            qualities[coding.strip()] = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            qualities[coding.strip()] = 0.0
    return qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0))) > 0


def _weaken_etag(message: Message) -> None:
    """Compressed bytes are others than those that a strong validator stands for (RFC 9110, section 8.8.1)."""
    headers = MutableHeaders(scope=message)
    etag = headers.get("etag", "")
    if etag.startswith('"'):
        headers["etag"] = f"W/{etag}"
