"""JSON bodies that FastAPI parses: how large they may be.

It validates them where everybody else is answered, too, and Pydantic makes a finding of each field that is not known: a
body of some megabytes held up all others for seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from fastapi import Request, Response, params
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from shared.problems import BadRequest, ContentTooLarge

SMALL_JSON_BYTES = 64 * 1024


async def read_body(request: Request, most_bytes: int, *, hint: str = "") -> bytes:
    """A body as a whole, not inflated.

    Args:
        request: whose body nobody has read yet.
        most_bytes: that it may have.
        hint: what to do with a larger one, as a sentence.

    Raises:
        BadRequest: it broke off.
        ContentTooLarge: it has more.
    """
    content = bytearray()
    try:
        async for part in request.stream():
            content += part
            if len(content) > most_bytes:
                raise ContentTooLarge(f"The JSON body of this route may have {most_bytes} bytes. {hint}".strip())
    except ClientDisconnect:
        raise BadRequest("The request broke off before its body was complete.") from None
    return bytes(content)


class JsonRoute(APIRoute):
    """A FastAPI route whose JSON body is small: `APIRouter(route_class=JsonRoute)`. Other bodies are not looked at."""

    most_bytes: ClassVar[int] = SMALL_JSON_BYTES

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI behind the body."""
        handler = super().get_route_handler()
        if self.body_field is None or isinstance(self.body_field.field_info, params.Form):
            return handler

        async def handle(request: Request) -> Response:
            request._body = await read_body(request, self.most_bytes)
            return await handler(request)

        return handle
