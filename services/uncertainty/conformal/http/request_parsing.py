"""Parsing of requests: options and named arrays, from a form with files or from a JSON body.

Both hold the same: a file of a form, or a list in JSON, is an array with a name; everything else is an option.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final, TypeVar, cast

import anyio
import numpy as np
import orjson
from fastapi import Request
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from services.uncertainty.conformal.http.table_readers import TableFile, read_numbers
from services.uncertainty.conformal.http.text_readers import read_texts
from shared.http.errors import findings, validation_problem
from shared.http.json_bodies import read_body
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
_OPTIONS: Final = 1000
"""Options that are looked at: no request has so many, so that what is left out is as unknown as most of them."""
_FORMS: Final = ("multipart/form-data", "application/x-www-form-urlencoded")
_NAMES: Final = ("/class_names", "/labels", "/groups", "/training_labels")
"""Arrays that may hold texts, which a form gives between commas as they are."""
_LABELS: Final = 10_000_000


@dataclass(frozen=True)
class ParsedRequest:
    """The options and arrays of a request; a `NamedArrays`.

    Attributes:
        options: fields that are no arrays, as they came.
        lists: arrays of a JSON body, by name.
        files: files of a form, by name.
        limit: most numbers of one array.
        arrays: names of those that the route takes.
    """

    options: Mapping[str, Any]
    lists: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, list[UploadFile]] = field(default_factory=dict)
    limit: int = 50_000_000
    arrays: Collection[str] = ()

    def has(self, name: str) -> bool:
        """Whether an array of this name was posted."""
        return name in self.lists or name in self.files

    def validate_options(self, model: type[MODEL]) -> MODEL:
        """Validate the options.

        Raises:
            UnprocessableContent: they do not fit the model.
        """
        try:
            return model.model_validate(dict(islice(self.options.items(), _OPTIONS)))
        except ValidationError as error:
            raise validation_problem(findings(error, "body"), model, beside=self.arrays) from None

    def refuse_others(self, names: Collection[str]) -> None:
        """Refuse arrays of other names, which nothing would look at.

        Raises:
            UnprocessableContent: names the first of them.
        """
        for name in (*self.lists, *self.files):
            if name not in names:
                raise field_problem(f"/body/{name}", f"No such array is used here. There are: {', '.join(names)}.")

    def without(self, name: str) -> ParsedRequest:
        """Copy the request but for one array."""
        lists = {one: value for one, value in self.lists.items() if one != name}
        files = {one: value for one, value in self.files.items() if one != name}
        return replace(self, lists=lists, files=files)

    def read_numbers(self, name: str, *, dimensions: int | None = 1, count: int | None = None) -> NDArray[Any] | None:
        """Read an array of numbers, None if there is none of this name; problems as of `table_readers.read_numbers`."""
        pointer = f"/body/{name}"
        if name in self.lists:
            return _convert_list(self.lists[name], dimensions, self.limit, pointer)
        if name in self.files:
            return read_numbers(self._file(name), dimensions=dimensions, limit=self.limit, count=count)
        return None

    def require_numbers(self, name: str, *, dimensions: int | None = 1, count: int | None = None) -> NDArray[Any]:
        """Read an array of numbers that has to be there.

        Raises:
            UnprocessableContent: it is not.
        """
        array = self.read_numbers(name, dimensions=dimensions, count=count)
        if array is None:
            raise field_problem(f"/body/{name}", "This is needed: a file (NPY, CSV, Parquet), or a list in JSON.")
        return array

    def read_texts(self, name: str, *, count: int | None = None) -> list[str] | None:
        """Read an array of labels, None if there is none of this name."""
        if name in self.lists:
            values = _flatten_column(self.lists[name])
            texts = [_to_text(one) for one in values]
            if None in texts:
                detail = f"A list of texts or whole numbers is needed; item {texts.index(None)} is neither."
                raise field_problem(f"/body/{name}", detail)
            return [text for text in texts if text is not None]
        return read_texts(self._file(name), limit=_LABELS, count=count) if name in self.files else None

    def _file(self, name: str) -> TableFile:
        files = self.files[name]
        if len(files) > 1:
            raise field_problem(f"/body/{name}", "One file is expected.")
        upload = files[0]
        return TableFile(cast("Any", upload.file), upload.size or 0, f"/body/{name}")


async def parse_request(request: Request, arrays: Collection[str], *, limit: int) -> ParsedRequest:
    """Parse the options and arrays of a request.

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


async def _read_form(request: Request, arrays: Collection[str], limit: int) -> ParsedRequest:
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
    lists = {name: _parse_list(options.pop(name), f"/body/{name}") for name in arrays if name in options}
    return ParsedRequest(options, lists=lists, files=files, limit=limit, arrays=arrays)


def _parse_list(value: str | list[str], pointer: str) -> list[Any]:
    """A short array as text of a form: numbers between commas, or the field repeated."""
    text = ",".join(value) if isinstance(value, list) else value
    try:
        values = orjson.loads(f"[{text}]")
    except orjson.JSONDecodeError:
        if pointer.endswith(_NAMES):
            return [part.strip() for part in text.split(",")]
        raise field_problem(pointer, "Numbers between commas are needed, or a file: curl -F 'labels=@path'.") from None
    return values if isinstance(values, list) else [values]


async def _read_json(request: Request, arrays: Collection[str], limit: int) -> ParsedRequest:
    body = await read_body(request, _JSON_BYTES, hint="Post larger arrays as NPY files.")
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
    options = {name: value for name, value in document.items() if name not in arrays}
    return ParsedRequest(options, lists=lists, limit=limit, arrays=arrays)


def _flatten_column(values: list[Any]) -> list[Any]:
    """A list of lists of one, as a list."""
    nested = all(isinstance(one, list) and len(one) == 1 for one in values)
    return [one[0] for one in values] if nested else values


def _to_text(value: Any) -> str | None:
    """A label as text; a whole number that was sent as a float is one."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _convert_list(values: list[Any], dimensions: int | None, limit: int, pointer: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError:
        raise field_problem(pointer, "The rows are of different lengths.") from None
    if array.dtype.kind not in ("fiu" if dimensions else "fiub"):
        hint = " Labels that are texts need class_names, in the order of the columns." if "labels" in pointer else ""
        raise field_problem(pointer, f"Numbers are needed, without null or text between them.{hint}")
    if array.size > limit:
        detail = f"There are {array.size} numbers; at most {limit} are accepted."
        raise ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])
    if dimensions == 1 and array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)  # as files have it, too
    fits = array.ndim == dimensions if dimensions else array.ndim >= 2
    if not fits or not array.size:
        needed = "a list of numbers" if dimensions == 1 else "a list of rows"
        raise field_problem(pointer, f"The shape is {array.shape}; {needed} is needed.")
    return array
