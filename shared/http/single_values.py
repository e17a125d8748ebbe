"""What takes one value is given once: query parameters and form fields of every route.

FastAPI takes the last of several values and says nothing, although either might be the one that is meant. This is a
dependency of the whole application, so that it holds for all routes. It knows a route's parameters from what FastAPI
knows of it, or from what its OpenAPI says where the route reads its form itself. Image routes check it themselves
(`shared.http.image_bodies`), as dependencies are none of theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin
from urllib.parse import parse_qsl

from fastapi import Request, params
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.datastructures import FormData, UploadFile

from shared.http.uploads import documented_fields, require_single

_SEVERAL = (list, set, frozenset, tuple, Sequence, Collection, Iterable)


@dataclass(frozen=True, slots=True)
class Single:
    """Names of what takes one value.

    Attributes:
        query: parameters of the query.
        fields: fields of a form.
        files: fields that take one file, or several texts that are a list.
    """

    query: frozenset[str]
    fields: frozenset[str]
    files: frozenset[str]


class SingleValues:
    """The dependency of one application, which remembers what it has found out about its routes."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[APIRoute, Single]] = {}

    async def __call__(self, request: Request) -> None:
        """Refuse a request that gives several values to what takes one.

        Args:
            request: its form, if it has one, has been parsed.

        Raises:
            UnprocessableContent: names the parameter or the field.
        """
        route = request.scope.get("route")
        if not isinstance(route, APIRoute):
            return
        single = self._of(route)
        if single.query and (query := request.scope["query_string"]):
            given = (name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
            require_single((name for name in given if name in single.query), (), place="query")
        form = request._form  # what was parsed before; `form()` would read a body that nobody has read
        if isinstance(form, FormData):
            items = form.multi_items()
            require_single((name for name, _ in items if name in single.fields), (), place="body")
            files = (name for name, value in items if isinstance(value, UploadFile))
            require_single((name for name in files if name in single.files), (), place="body")

    def _of(self, route: APIRoute) -> Single:
        known = self._known.get(id(route))  # routes have no hash; they live as long as their application
        if known is None:
            known = self._known[id(route)] = (route, _single_values(route))
        return known[1]


def _single_values(route: APIRoute) -> Single:
    query, fields = set[str](), set[str]()
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        waiting += dependant.dependencies
        query.update(*(_single(one.alias, one.field_info) for one in dependant.query_params))
        forms = (one for one in dependant.body_params if isinstance(one.field_info, params.Form))
        fields.update(*(_single(one.alias, one.field_info) for one in forms))
    described = documented_fields(route.openapi_extra)
    files = {name for name, schema in described.items() if schema.get("format") == "binary"}
    fields |= {name for name, schema in described.items() if not _is_list(schema)} - files
    return Single(frozenset(query), frozenset(fields), frozenset(files))


def _is_list(schema: Mapping[str, Any]) -> bool:
    kinds = (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ()))
    return any(kind.get("type") == "array" for kind in kinds)


def _single(name: str, field: FieldInfo) -> Iterator[str]:
    """Names under which a parameter takes one value; a model stands for its fields."""
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for inner, one in kind.model_fields.items():
            yield from _single(one.alias or inner, one)
    elif not _takes_several(kind):
        yield name


def _takes_several(kind: Any) -> bool:
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        return any(_takes_several(one) for one in get_args(kind))
    return (origin or kind) in _SEVERAL
