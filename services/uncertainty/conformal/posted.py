"""What a request about conformal prediction holds: options and named arrays, as multipart files or in a JSON body.

Both forms say the same: a file of the form, or a list in JSON, is an array with a name; everything else is an option.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar, cast

import anyio
import numpy as np
import orjson
from fastapi import Request
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from services.uncertainty.conformal.tables import TableFile, read_numbers, read_texts
from shared.http.errors import validation_problem
from shared.http.uploads import read_form
from shared.problems import (
    BadRequest,
    ContentTooLarge,
    FieldError,
    UnprocessableContent,
    UnsupportedMediaType,
    field_problem,
)

MODEL = TypeVar("MODEL", bound=BaseModel)
_JSON_BYTES: Final = 64 * 1024 * 1024
_FORMS: Final = ("multipart/form-data", "application/x-www-form-urlencoded")
_LABELS: Final = 10_000_000


@dataclass(frozen=True)
class Posted:
    """The parts of a request.

    Attributes:
        options: fields that are no arrays, as they came.
        lists: arrays of a JSON body, by name.
        files: files of a form, by name.
        limit: most numbers of one array.
    """

    options: Mapping[str, Any]
    lists: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, list[UploadFile]] = field(default_factory=dict)
    limit: int = 50_000_000

    def has(self, name: str) -> bool:
        """Whether an array of this name was posted."""
        return name in self.lists or name in self.files

    def parsed(self, model: type[MODEL]) -> MODEL:
        """The options, checked.

        Raises:
            UnprocessableContent: they do not fit the model.
        """
        try:
            return model.model_validate(self.options)
        except ValidationError as error:
            found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
            raise validation_problem(found) from None

    def refuse_others(self, known: Collection[str]) -> None:
        """Refuse arrays that nothing would look at.

        Raises:
            UnprocessableContent: names the first of them.
        """
        for name in (*self.lists, *self.files):
            if name not in known:
                raise field_problem(f"/body/{name}", f"No such array is used here. There are: {', '.join(known)}.")

    def without(self, name: str) -> Posted:
        """The same request but for one array."""
        lists = {one: value for one, value in self.lists.items() if one != name}
        files = {one: value for one, value in self.files.items() if one != name}
        return replace(self, lists=lists, files=files)

    def numbers(self, name: str, *, dimensions: int | None = 1) -> NDArray[Any] | None:
        """An array of numbers, None where there is none; errors as of `tables.read_numbers`."""
        pointer = f"/body/{name}"
        if name in self.lists:
            return _numbers_of(self.lists[name], dimensions, self.limit, pointer)
        if name in self.files:
            return read_numbers(self._file(name), dimensions=dimensions, limit=self.limit)
        return None

    def needed(self, name: str, *, dimensions: int | None = 1) -> NDArray[Any]:
        """An array of numbers that has to be there.

        Raises:
            UnprocessableContent: it is not.
        """
        found = self.numbers(name, dimensions=dimensions)
        if found is None:
            raise field_problem(f"/body/{name}", "This is needed: a file (NPY, CSV, Parquet), or a list in JSON.")
        return found

    def texts(self, name: str) -> list[str] | None:
        """An array of labels, None where there is none."""
        if name in self.lists:
            values = self.lists[name]
            if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in values):
                raise field_problem(f"/body/{name}", "A list of texts or whole numbers is needed.")
            return [str(one) for one in values]
        return read_texts(self._file(name), limit=_LABELS) if name in self.files else None

    def _file(self, name: str) -> TableFile:
        files = self.files[name]
        if len(files) > 1:
            raise field_problem(f"/body/{name}", "One file is expected.")
        upload = files[0]
        return TableFile(cast("Any", upload.file), upload.size or 0, f"/body/{name}")


async def read_posted(request: Request, arrays: Collection[str], *, limit: int) -> Posted:
    """The options and arrays of a request.

    Args:
        request: with a form or a JSON body.
        arrays: names of what are arrays; in JSON anything else is an option.
        limit: most numbers of one array.

    Raises:
        UnsupportedMediaType: neither a form nor JSON.
        BadRequest: malformed.
        ContentTooLarge: a JSON body of more than 64 MiB.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type in _FORMS:
        return await _read_form(request, arrays, limit)
    if content_type == "application/json" or content_type.endswith("+json"):
        return await _read_json(request, arrays, limit)
    raise UnsupportedMediaType("This route reads multipart/form-data (curl -F 'logits=@path') or application/json.")


async def _read_form(request: Request, arrays: Collection[str], limit: int) -> Posted:
    form = await read_form(request)
    options: dict[str, Any] = {}
    files: dict[str, list[UploadFile]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.setdefault(name, []).append(value)
        elif name in options:
            before = options[name]
            options[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            options[name] = value
    for name in files:
        if name in options:
            raise field_problem(f"/body/{name}", "This is given as a file and as text; one of them is enough.")
    lists = {name: _typed(options.pop(name), f"/body/{name}") for name in arrays if name in options}
    return Posted(options, lists=lists, files=files, limit=limit)


def _typed(value: str | list[str], pointer: str) -> list[Any]:
    """A short array as text of a form: numbers between commas, or the field repeated."""
    text = ",".join(value) if isinstance(value, list) else value
    try:
        found = orjson.loads(f"[{text}]")
    except orjson.JSONDecodeError:
        raise field_problem(pointer, "Numbers between commas are needed, or a file: curl -F 'labels=@path'.") from None
    return found if isinstance(found, list) else [found]


async def _read_json(request: Request, arrays: Collection[str], limit: int) -> Posted:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _JSON_BYTES:
            raise ContentTooLarge(f"A JSON body may have {_JSON_BYTES} bytes. Post larger arrays as NPY files.")
    try:
        document = await anyio.to_thread.run_sync(orjson.loads, body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            "The body is not valid JSON.", errors=[FieldError(pointer="/body", detail=str(error)[:200])]
        ) from None
    if not isinstance(document, dict):
        raise UnprocessableContent("The body is to be a JSON object.")
    lists = {name: value for name, value in document.items() if name in arrays and value is not None}
    for name, value in lists.items():
        if not isinstance(value, list):
            raise field_problem(f"/body/{name}", "A list is needed.")
    return Posted({name: value for name, value in document.items() if name not in arrays}, lists=lists, limit=limit)


def _numbers_of(values: list[Any], dimensions: int | None, limit: int, pointer: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError:
        raise field_problem(pointer, "The rows are of different lengths.") from None
    if array.dtype.kind not in ("fiu" if dimensions else "fiub"):
        raise field_problem(pointer, "Numbers are needed, without null or text between them.")
    if array.size > limit:
        detail = f"There are {array.size} numbers; at most {limit} are accepted."
        raise ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])
    fits = array.ndim == dimensions if dimensions else array.ndim >= 2
    if not fits or not array.size:
        needed = "a list of numbers" if dimensions == 1 else "a list of rows"
        raise field_problem(pointer, f"The shape is {array.shape}; {needed} is needed.")
    return array


def schema_of(
    model: type[BaseModel],
    arrays: Mapping[str, str],
    *,
    needed: Collection[str] = (),
    other: type[BaseModel] | None = None,
    repeated: Collection[str] = (),
) -> dict[str, Any]:
    """`openapi_extra` of a route: the options with the arrays beside them, as form and as JSON.

    Args:
        model: of the options.
        arrays: descriptions by name.
        needed: names of arrays that cannot be left out.
        other: the options of another kind of request to the same route.
        repeated: names of arrays that several files make.
    """
    options = _united([inlined(one.model_json_schema()) for one in (model, other) if one is not None])
    numbers = {
        "type": "array",
        "items": {"oneOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]},
    }
    labels = {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}
    listed = {name: {**(labels if name == "groups" else numbers), "description": text} for name, text in arrays.items()}
    file = {"type": "string", "format": "binary"}
    filed: dict[str, dict[str, Any]] = {
        name: {**file, "description": f"{text}; NPY, CSV or Parquet"} for name, text in arrays.items()
    }
    filed |= {name: {"type": "array", "items": file, "description": arrays[name]} for name in repeated}
    required = [*options.get("required", []), *needed]
    contents = {
        media_type: {
            "schema": {
                "type": "object",
                "properties": {**options.get("properties", {}), **properties},
                **({"required": required} if required else {}),
            }
        }
        for media_type, properties in (("multipart/form-data", filed), ("application/json", listed))
    }
    return {"requestBody": {"required": True, "content": contents}}


def _united(schemas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One schema for the options of two kinds: what differs may be either."""
    properties: dict[str, Any] = {}
    for schema in schemas:
        for name, one in schema.get("properties", {}).items():
            known = properties.get(name)
            properties[name] = one if known in (None, one) else {"anyOf": [known, one]}
    required = set.intersection(*(set(schema.get("required", ())) for schema in schemas))
    return {"properties": properties, "required": sorted(required)}


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema with its definitions put in where they are referred to."""
    definitions = schema.get("$defs", {})

    def walk(part: Any) -> Any:
        if isinstance(part, list):
            return [walk(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            return {**walk(definitions[name]), **{key: value for key, value in part.items() if key != "$ref"}}
        return {key: walk(value) for key, value in part.items() if key != "$defs"}

    found: dict[str, Any] = walk(schema)
    return found
