"""Routes that take an image or an array: as the body itself, with options in the query, or as a multipart form.

Both ways have the same options, with the same names, limits and problems, and a route gets them in the same shape:
`Posted` holds files and options, whatever they came as. Only the pointers of problems differ: `/query/top` for an
option and `/body` for the file where the body is the file, `/body/top` and `/body/file/0` in forms.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, TypeVar, cast
from urllib.parse import parse_qsl

from fastapi import APIRouter, Form
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from shared.http.errors import findings, json_pointer, validation_problem
from shared.http.negotiation import OCTETS
from shared.http.uploads import FORM_TYPES, content_type_of, list_fields, read_form, read_upload, require_single
from shared.imaging.signatures import MediaType, describe, sniff
from shared.problems import BadRequest, FieldError, Problem, UnsupportedMediaType, field_problem

Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class PostedFile:
    """A file of a request.

    Attributes:
        pointer: where it stands.
        content: the body, or the part of a form, which may be on disk still.
    """

    pointer: str
    content: bytes | UploadFile

    async def read(self, *, pointer: str | None = None) -> bytes:
        """All of it.

        Args:
            pointer: the field to blame, if not its own.

        Raises:
            ContentTooLarge: more bytes than a file may have.
            UnprocessableContent: empty.
        """
        if isinstance(self.content, bytes):
            return self.content
        return await read_upload(self.content, pointer=pointer or self.pointer)

    async def start(self, count: int) -> bytes:
        """Its first bytes."""
        if isinstance(self.content, bytes):
            return self.content[:count]
        data = await self.content.read(count)
        await self.content.seek(0)
        return data


@dataclass(frozen=True, slots=True)
class Posted(Generic[Options]):
    """What a request brought.

    Attributes:
        options: checked.
        files: the images, one where the body is the file.
        others: further files of a form, by the name of their field.
    """

    options: Options
    files: Sequence[PostedFile]
    others: Mapping[str, PostedFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageForm(Generic[Options]):
    """What a route takes.

    Attributes:
        options: fields that are no files.
        form: the same with the files; those called `file` are the images.
        accepted: types that a body may have which is the file itself.
    """

    options: type[Options]
    form: type[Options]
    accepted: Sequence[MediaType]

    async def read(self, request: Request) -> Posted[Options]:
        """Read a request, whichever way it came.

        Raises:
            BadRequest: a form that cannot be read, or a body that broke off.
            UnsupportedMediaType: a body of another type, or of another than it says.
            UnprocessableContent: options that do not fit, or an empty body.
        """
        stated = content_type_of(request)
        if stated in FORM_TYPES:
            return await self._read_form(request)
        return await self._read_body(request, stated)

    async def _read_form(self, request: Request) -> Posted[Options]:
        if query := request.scope["query_string"]:
            name = parse_qsl(query.decode("latin-1"), keep_blank_values=True)[:1] or [("", "")]
            raise field_problem(json_pointer(["query", name[0][0]]), "With a form, options are fields of the form.")
        items = (await read_form(request)).multi_items()
        form = self._validate(self.form, items, place="body")
        images = getattr(form, "file", None) or []
        pointers = [f"/body/file/{index}" for index in range(len(images))] if isinstance(images, list) else []
        files = images if isinstance(images, list) else [images]
        others = {
            name: PostedFile(json_pointer(["body", name]), value)
            for name in self.form.model_fields
            if name != "file" and isinstance(value := getattr(form, name), UploadFile)
        }
        options = self.options.model_construct(**{name: getattr(form, name) for name in self.options.model_fields})
        return Posted(options, list(map(PostedFile, pointers or ["/body/file"], files)), others)

    async def _read_body(self, request: Request, stated: str) -> Posted[Options]:
        if stated and stated != OCTETS and stated not in self.accepted:
            types = ", ".join(self.accepted)
            raise UnsupportedMediaType(
                f"This route takes the file itself as the body, as {types} or {OCTETS}, or a form, multipart/form-data "
                "(curl -F 'file=@path')."
            )
        options = self.parse(request.scope["query_string"])
        try:
            body = await request.body()
        except ClientDisconnect:
            raise BadRequest("The request broke off before its body was complete.") from None
        if not body:
            if stated or self.form.model_fields["file"].is_required():
                raise field_problem("/body", "The body is empty: send the file, or a form with it as `file`.")
            return Posted(options, ())
        if stated and stated != OCTETS:
            _require_stated(body, stated)
        return Posted(options, (PostedFile("/body", body),))

    def parse(self, query: bytes) -> Options:
        """Options out of a query.

        Raises:
            UnprocessableContent: one is unknown, repeated or does not fit.
        """
        items = parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else ()
        return self._validate(self.options, items, place="query")

    def _validate(
        self, model: type[Options], items: Iterable[tuple[str, Any]], *, place: Literal["body", "query"]
    ) -> Options:
        lists = list_fields(model)
        values: dict[str, Any] = {}
        for name, value in items:
            if value == "":  # as browsers send fields that nobody filled in
                continue
            if name in lists:
                values.setdefault(name, []).append(value)
            elif name in values:
                require_single([name, name], lists, place=place)
            else:
                values[name] = value
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise validation_problem(findings(error, place), model) from None


def _require_stated(body: bytes, stated: str) -> None:
    """Check that a body is what its Content-Type says."""
    if sniff(body) != stated:
        detail = f"Content-Type says {stated}, and this is {describe(body)}. State the type that it has, or {OCTETS}."
        raise UnsupportedMediaType(detail, errors=[FieldError(pointer="/body", detail=detail)])


Handler = Callable[[Request, Posted[Options]], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class ImageRoute(APIRoute):
    """A route whose endpoint reads the request itself. FastAPI documents it, and is not asked to parse anything."""

    def get_route_handler(self) -> Any:
        """The endpoint as it is."""
        return self.endpoint


def image_route(
    router: APIRouter,
    path: str,
    form: ImageForm[Options],
    *,
    headers: Mapping[str, str],
    **documentation: Any,
) -> Callable[[Handler[Options]], Handler[Options]]:
    """Register a function as the POST route of a path.

    Args:
        router: that it belongs to.
        path: below the router's prefix.
        form: what it takes.
        headers: request header fields that it reads, with what they do; they are documented, no more.
        documentation: what FastAPI's `post` takes: summary, response_model, responses.
    """

    def register(function: Handler[Options]) -> Handler[Options]:
        router.add_api_route(
            path,
            _endpoint(form, function),
            methods=["POST"],
            route_class_override=ImageRoute,
            openapi_extra=_describe_request(form, headers),
            **documentation,
        )
        return function

    return register


def _endpoint(form: ImageForm[Options], function: Handler[Options]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            return await function(request, await form.read(request))
        except Problem as problem:
            if content_type_of(request) not in FORM_TYPES:
                problem.errors = [_point_to_query(error) for error in problem.errors]
            raise
        finally:
            await request.close()

    parameters = [
        inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request),
        inspect.Parameter(
            "form",
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            annotation=Annotated[form.form, Form(media_type="multipart/form-data")],
        ),
    ]
    cast("Any", endpoint).__signature__ = inspect.Signature(parameters)  # what FastAPI documents
    endpoint.__name__, endpoint.__doc__ = function.__name__, function.__doc__
    return endpoint


def _point_to_query(error: FieldError) -> FieldError:
    """Where a field of the form stands in a request whose body is the file."""
    place, _, name = error.pointer.removeprefix("/").partition("/")
    if place != "body" or not name:
        return error
    at_file = name == "file" or name.startswith("file/")
    return FieldError(pointer="/body" if at_file else f"/query/{name}", detail=error.detail)


_SAID_ELSEWHERE = frozenset({"default", "description"})


def _describe_request(form: ImageForm[Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """The OpenAPI of the body that is the file, of options in the query, and of header fields."""
    schema = form.options.model_json_schema()
    definitions = schema.get("$defs", {})
    binary = {"schema": {"type": "string", "format": "binary"}}
    options = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": f"{one.get('description', name)} (where the body is the file; else a field of the form)",
            # Generated clients send defaults that are documented, beside a form, too, where they are refused.
            "schema": _inline({key: value for key, value in one.items() if key not in _SAID_ELSEWHERE}, definitions),
        }
        for name, one in schema["properties"].items()
    ]
    fields = [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in headers.items()
    ]
    content = dict.fromkeys([*map(str, form.accepted), OCTETS], binary)
    return {"requestBody": {"content": content}, "parameters": [*options, *fields]}


def _inline(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema with its references replaced by what they name."""
    if isinstance(schema, list):
        return [_inline(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inline(value, definitions) for key, value in schema.items()}


def endpoints_of(routers: Collection[APIRouter]) -> dict[str, APIRoute]:
    """The image routes of some routers, by path."""
    return {route.path: route for router in routers for route in router.routes if isinstance(route, ImageRoute)}
