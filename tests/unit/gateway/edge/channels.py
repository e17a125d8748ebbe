"""ASGI channels that say what a test tells them, and scopes of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.types import Message, Receive, Scope


def scope_of(*headers: tuple[str, str], method: str = "POST", path: str = "/v1/medical/x") -> Scope:
    """The head of a request."""
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "scheme": "http", "client": ("127.0.0.1", 1234),
    }  # fmt: skip


def channel(*parts: bytes, then: str = "end") -> Receive:
    """Gives parts of a body.

    Args:
        parts: of it.
        then: "end" ends the body, "leave" is a caller that goes away, "hang" one that says nothing more.
    """
    waiting = list(parts)

    async def receive() -> Message:
        if waiting:
            part = waiting.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(waiting) or then != "end"}
        if then == "hang":
            await asyncio.Event().wait()
        return {"type": "http.disconnect"} if then == "leave" else {"type": "http.request", "body": b""}

    return receive


def cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """The data in parts of these sizes, and a part of what is left."""
    parts = []
    for size in sizes:
        part, data = data[:size], data[size:]
        parts.append(part)
    return [*parts, data]
