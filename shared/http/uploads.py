"""Request bodies within limits: counted while they stream in, parsed as multipart under ceilings, read once.

Starlette's multipart parser has no total limit and starts with 1000 files; here the bytes are counted below it, so
that a chunked body without Content-Length stops at the same place as an honest one (OWASP File Upload Cheat Sheet).
Nothing in here keeps or logs the name that a caller gave a file: it may be a patient's.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_origin

import anyio
from fastapi import params
from pydantic import BaseModel
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.errors import json_pointer, problem_response
from shared.http.json_bodies import JsonRoute
from shared.http.multipart import WholeMultiPartParser
from shared.imaging.signatures import MediaType, require_type
from shared.problems import BadRequest, ContentTooLarge, FieldError, UnsupportedMediaType, field_problem
from shared.settings import get_settings
from shared.storage.blobs import digest_of

FORM_TYPES: Final = ("multipart/form-data", "application/x-www-form-urlencoded")
"""Media types of bodies that are forms."""

_DRAIN_BYTES: Final = 16 * 1024 * 1024
_DRAIN_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FormLimits:
    """What one multipart body may hold.

    Attributes:
        files: parts with a file name.
        fields: other parts.
        field_bytes: bytes of one part that is no file.
    """

    files: int = 256
    fields: int = 64
    field_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was received, without the name that it came under.

    Attributes:
        data: the content.
        digest: `sha256:` and hexadecimal digits, its address in the blob store.
        media_type: by its first bytes.
    """

    data: bytes
    digest: str
    media_type: MediaType


class _BodyTooLarge(Exception):
    """Unwinds the application when the count passes the limit."""


class BodyLimit:
    """ASGI middleware that answers 413 as soon as a body is known to be too large.

    A Content-Length above the limit is answered before a byte of the body is read; a body without one as soon as
    the count passes the limit, whatever the application then makes of it. The answer goes out at once, and for
    a moment (16 MiB or 5 s) the rest of the body is read and dropped, because a client that is cut off while
    writing may lose the answer.

    Args:
        app: the application behind.
        limit: most bytes of a body; of every path, or by the path.
    """

    def __init__(self, app: ASGIApp, limit: int | Callable[[str], int]) -> None:
        self._app = app
        self._limit_of = limit if callable(limit) else lambda _path: limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope["path"])
        length = Headers(scope=scope).get("content-length", "")
        if length.isascii() and length.isdigit():
            if int(length[:20]) > limit:
                await self._refuse(scope, receive, send, limit)
            else:  # the server hands on no more than was announced
                await self._app(scope, receive, send)
            return
        await self._count(scope, receive, send, limit)

    async def _count(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        received = 0
        exceeded = started = False

        async def counted_receive() -> Message:
            nonlocal received, exceeded
            if exceeded:
                raise _BodyTooLarge
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                exceeded = True
                raise _BodyTooLarge
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal started
            # What the application says after the limit was passed (such as 400 for a body that broke off) is moot.
            if not exceeded or started:
                started = True
                await send(message)

        try:
            await self._app(scope, counted_receive, guarded_send)
        except Exception:
            if not exceeded:
                raise
        if exceeded and not started:
            await self._refuse(scope, receive, send, limit)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        problem = ContentTooLarge(f"The request body is larger than {limit} bytes.", headers={"Connection": "close"})
        response = problem_response(problem, path=scope["path"])
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        with anyio.move_on_after(_DRAIN_SECONDS):
            await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    dropped = 0
    while dropped <= _DRAIN_BYTES:
        message = await receive()
        dropped += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


class UploadRoute(JsonRoute):
    """A FastAPI route that parses forms under FormLimits: `APIRouter(route_class=UploadRoute)`; JSON as a `JsonRoute`.

    A route that documents lists of more fields than a form may have otherwise takes as many as it documents. FastAPI
    parses a form before the function of the route runs, and answers what goes wrong with a bare 400. This
    parses it first and names the fault; FastAPI finds the parsed form on the request. A body that is no form, where
    the route takes one, is answered with 415 instead of a complaint about missing fields.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI behind a parsed form."""
        handler = super().get_route_handler()
        field = None if self.body_field is None else self.body_field.field_info
        takes_form = isinstance(field, params.Form)
        documented = sum(map(_most_fields, documented_fields(self.openapi_extra).values()))
        fields = max(FormLimits().fields, documented)

        async def handle(request: Request) -> Response:
            content_type = content_type_of(request)
            if takes_form and content_type and content_type not in FORM_TYPES:
                raise UnsupportedMediaType("This route reads forms: send multipart/form-data (curl -F 'file=@path').")
            if content_type not in FORM_TYPES:
                return await handler(request)
            await read_form(request, FormLimits(files=get_settings().upload_files_limit, fields=fields))
            try:
                return await handler(request)
            finally:
                await request.close()

        return handle


def documented_fields(openapi: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The schemas of a form's fields, where a route says itself, by `openapi_extra`, what it takes."""
    content = (openapi or {}).get("requestBody", {}).get("content", {})
    found: Mapping[str, Any] = content.get("multipart/form-data", {}).get("schema", {}).get("properties", {})
    return found


def _most_fields(schema: Mapping[str, Any]) -> int:
    """How often a field of a form may be repeated."""
    kinds = (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ()))
    return max(int(kind.get("maxItems", 1)) for kind in kinds)


async def read_form(request: Request, limits: FormLimits | None = None) -> FormData:
    """Parse a multipart or urlencoded body. The files in it are on disk beyond 1 MB and closed with the request.

    A field that is sent empty counts as left out, as forms of browsers mean it: an empty text, or a file without name
    and content.

    Args:
        request: parsed at most once; later calls return the same form.
        limits: what it may hold; files up to the setting `upload_files_limit` otherwise.

    Raises:
        BadRequest: malformed, or more parts than allowed.
    """
    limits = limits or FormLimits(files=get_settings().upload_files_limit)
    sizes = {"max_files": limits.files, "max_fields": limits.fields, "max_part_size": limits.field_bytes}
    try:
        if request._form is None and content_type_of(request) == "multipart/form-data":
            request._form = await WholeMultiPartParser(request.headers, request.stream(), **sizes).parse()
        form = await request.form(**sizes)
        if any(_is_left_out(value) for _, value in form.multi_items()):
            request._form = FormData([(name, value) for name, value in form.multi_items() if not _is_left_out(value)])
        return request._form or form
    except MultiPartException as error:
        raise BadRequest(f"The multipart body cannot be read. {error.message}") from None
    except HTTPException as error:
        raise BadRequest(f"The multipart body cannot be read. {error.detail}") from None
    except ClientDisconnect:
        raise BadRequest("The request broke off before its body was complete.") from None
    except (ValueError, LookupError):
        raise BadRequest("The form body cannot be read: it is malformed.") from None


def _is_left_out(value: UploadFile | str) -> bool:
    return not value if isinstance(value, str) else not value.filename and not value.size


def content_type_of(request: Request) -> str:
    """The media type that the request states for its body, in lower case and without parameters; empty if none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_single(names: Iterable[str], lists: Collection[str], *, place: Literal["body", "query"]) -> None:
    """Check that what takes one value was given once: of two values, either might be the one that is meant.

    Args:
        names: of all fields or parameters, repeated as they were.
        lists: those that take several.
        place: where they stand.

    Raises:
        UnprocessableContent: one is repeated.
    """
    again = [name for name, count in Counter(names).items() if count > 1 and name not in lists]
    if again:
        raise field_problem(json_pointer([place, again[0]]), f"{again[0]} takes one value and was given several.")


def list_fields(model: type[BaseModel]) -> frozenset[str]:
    """Names of the fields of a form that take several values."""
    return frozenset(name for name, field in model.model_fields.items() if get_origin(field.annotation) is list)


async def read_upload(file: UploadFile, *, limit: int | None = None, pointer: str = "/body/file") -> bytes:
    """The content of one uploaded file.

    Args:
        file: the part of the form.
        limit: most bytes; the setting `upload_limit_bytes` otherwise.
        pointer: the field to blame.

    Raises:
        ContentTooLarge: more than `limit` bytes.
        UnprocessableContent: empty.
    """
    limit = get_settings().upload_limit_bytes if limit is None else limit
    data = await file.read(limit + 1)
    if len(data) > limit:
        detail = f"The file is larger than {limit} bytes."
        raise ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])
    if not data:
        raise field_problem(pointer, "The file is empty.")
    return data


async def receive_upload(
    file: UploadFile, *, accepted: Collection[MediaType], limit: int | None = None, pointer: str = "/body/file"
) -> Upload:
    """Read one uploaded file, find out what it is, and log it by digest.

    Raises:
        ContentTooLarge: more than `limit` bytes.
        UnsupportedMediaType: none of the accepted types, by content.
        UnprocessableContent: empty.
    """
    data = await read_upload(file, limit=limit, pointer=pointer)
    media_type = require_type(data, accepted, pointer=pointer)
    digest = await anyio.to_thread.run_sync(digest_of, data)
    logger.info("upload received", extra={"digest": digest, "media_type": media_type.value, "size": len(data)})
    return Upload(data, digest, media_type)
