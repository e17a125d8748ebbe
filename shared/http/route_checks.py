"""What routes refuse before their function runs: a value given twice, types that they do not speak, stray options.

FastAPI takes the last of several values and ignores parameters that nobody declared. This is a dependency of the whole
application, so that it holds for all routes without a line of their own. It knows a route by what FastAPI knows of it,
or by what its OpenAPI says where the route reads its form itself. Image routes check the same themselves
(`shared.http.image_bodies`), as dependencies are none of theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin
from urllib.parse import parse_qsl

from fastapi import Request, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.datastructures import FormData, UploadFile

from shared.http.errors import json_pointer
from shared.http.negotiation import JSON, accept_of, choose_media_type
from shared.http.uploads import FORM_TYPES, content_type_of, documented_fields, require_single
from shared.problems import UnsupportedMediaType, field_problem

_JSON_SUFFIX = "+json"
_SEVERAL = (list, set, frozenset, tuple, Sequence, Collection, Iterable)


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """What a route takes and gives.

    Attributes:
        taken: media types of bodies; none where it takes no body.
        given: media types of answers.
        query: names of the parameters of its query.
        single_query: those of them that take one value.
        single_fields: fields of a form that take one value.
        single_files: fields of a form that take one file, or several texts that are a list.
    """

    taken: tuple[str, ...]
    given: tuple[str, ...]
    query: frozenset[str]
    single_query: frozenset[str]
    single_fields: frozenset[str]
    single_files: frozenset[str]


class RouteChecks:
    """The dependency of one application, which remembers what it has found out about its routes.

    Args:
        strict: paths whose POST routes refuse types and parameters that they do not document; of all others only
            values that are given twice are refused.
    """

    def __init__(self, strict: Collection[str] = ()) -> None:
        self._strict = frozenset(strict)
        self._known: dict[int, tuple[APIRoute, RouteFacts]] = {}

    async def __call__(self, request: Request) -> None:
        """Refuse a request that the route cannot take or answer.

        Args:
            request: its form, if it has one, has been parsed.

        Raises:
            NotAcceptable: the caller accepts nothing that the route answers.
            UnsupportedMediaType: the body is of a type that the route does not read.
            UnprocessableContent: what takes one value was given several, or the query has a parameter that nothing
                would look at; names the parameter or the field.
        """
        route = request.scope.get("route")
        if not isinstance(route, APIRoute):
            return
        facts = self._of(route)
        query = request.scope["query_string"]
        names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)] if query else []
        require_single((name for name in names if name in facts.single_query), (), place="query")
        _check_form(request._form, facts)  # what was parsed before; `form()` would read a body that nobody has read
        if request.method != "POST" or route.path not in self._strict:
            return
        choose_media_type(accept_of(request.headers), facts.given)
        _check_content_type(content_type_of(request), facts.taken)
        _refuse_stray(names, facts.query)

    def _of(self, route: APIRoute) -> RouteFacts:
        known = self._known.get(id(route))  # routes have no hash; they live as long as their application
        if known is None:
            known = self._known[id(route)] = (route, _facts_of(route))
        return known[1]


def _check_form(form: Any, facts: RouteFacts) -> None:
    if not isinstance(form, FormData):
        return
    items = form.multi_items()
    require_single((name for name, _ in items if name in facts.single_fields), (), place="body")
    files = (name for name, value in items if isinstance(value, UploadFile))
    require_single((name for name in files if name in facts.single_files), (), place="body")


def _check_content_type(stated: str, taken: tuple[str, ...]) -> None:
    if not taken or stated in taken or (JSON in taken and stated.endswith(_JSON_SUFFIX)):
        return
    raise UnsupportedMediaType(f"This route reads {' or '.join(one for one in taken if one != FORM_TYPES[1])}.")


def _refuse_stray(names: Iterable[str], known: frozenset[str]) -> None:
    for name in names:
        if name not in known:
            detail = "This route has no such parameter. Options are fields of the body."
            raise field_problem(json_pointer(["query", name]), detail)


def _facts_of(route: APIRoute) -> RouteFacts:
    dependants = list(_walk(route.dependant))
    queries = [one for dependant in dependants for one in dependant.query_params]
    bodies = [one for dependant in dependants for one in dependant.body_params]
    forms = [one for one in bodies if isinstance(one.field_info, params.Form)]
    described = documented_fields(route.openapi_extra)
    files = {name for name, schema in described.items() if schema.get("format") == "binary"}
    fields = {name for one in forms for name in _single(one.alias, one.field_info)}
    fields |= {name for name, schema in described.items() if not _is_list(schema)} - files
    return RouteFacts(
        taken=_taken(route),
        given=_given(route),
        query=frozenset(one.alias for one in queries),
        single_query=frozenset(name for one in queries for name in _single(one.alias, one.field_info)),
        single_fields=frozenset(fields),
        single_files=frozenset(files),
    )


def _walk(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for one in dependant.dependencies:
        yield from _walk(one)


def _taken(route: APIRoute) -> tuple[str, ...]:
    described = (route.openapi_extra or {}).get("requestBody", {}).get("content", {})
    if described:
        return (*described, *(FORM_TYPES[1:] if FORM_TYPES[0] in described else ()))
    if route.body_field is None:
        return ()
    return FORM_TYPES if isinstance(route.body_field.field_info, params.Form) else (JSON,)


def _given(route: APIRoute) -> tuple[str, ...]:
    described = [
        media_type
        for status, answer in route.responses.items()
        if str(status).startswith("2")
        for media_type in answer.get("content", {})
    ]
    own = getattr(route.response_class, "media_type", JSON)  # FastAPI's default stands for JSON
    return tuple(dict.fromkeys([*([own] if own else []), *described]))


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
