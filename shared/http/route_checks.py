"""What every POST route of a capability refuses before it looks at a body: types that it does not speak, stray options.

A dependency of all routers of capabilities. It knows a route by what FastAPI documents of it, so a route that says what
it takes and gives is held to it without a line of its own. Image routes check the same themselves
(`shared.http.image_bodies`), as dependencies are none of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from fastapi import Request, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from shared.http.errors import json_pointer
from shared.http.negotiation import JSON, accept_of, choose_media_type
from shared.http.uploads import FORM_TYPES, content_type_of
from shared.problems import UnsupportedMediaType, field_problem

_JSON_SUFFIX = "+json"


@dataclass(frozen=True, slots=True)
class RouteTypes:
    """What a route speaks.

    Attributes:
        taken: media types of bodies; none where it takes no body.
        given: media types of answers.
        query: names of the parameters of its query.
    """

    taken: tuple[str, ...]
    given: tuple[str, ...]
    query: frozenset[str]


class RouteChecks:
    """The dependency, which remembers what it has found out about the routes of its application."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[APIRoute, RouteTypes]] = {}

    async def __call__(self, request: Request) -> None:
        """Refuse a request that the route cannot take or answer.

        Raises:
            NotAcceptable: the caller accepts nothing that the route answers.
            UnsupportedMediaType: the body is of a type that the route does not read.
            UnprocessableContent: the query has a parameter that nothing would look at.
        """
        route = request.scope.get("route")
        if request.method != "POST" or not isinstance(route, APIRoute):
            return
        types = self._of(route)
        choose_media_type(accept_of(request.headers), types.given)
        _check_content_type(content_type_of(request), types.taken)
        _check_query(request.scope["query_string"], types.query)

    def _of(self, route: APIRoute) -> RouteTypes:
        known = self._known.get(id(route))  # routes have no hash; they live as long as their application
        if known is None:
            known = self._known[id(route)] = (route, _types_of(route))
        return known[1]


def _check_content_type(stated: str, taken: tuple[str, ...]) -> None:
    if not taken or stated in taken or (JSON in taken and stated.endswith(_JSON_SUFFIX)):
        return
    raise UnsupportedMediaType(f"This route reads {' or '.join(one for one in taken if one != FORM_TYPES[1])}.")


def _check_query(query: bytes, known: frozenset[str]) -> None:
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else ():
        if name not in known:
            detail = "This route has no such parameter. Options are fields of the body."
            raise field_problem(json_pointer(["query", name]), detail)


def _types_of(route: APIRoute) -> RouteTypes:
    return RouteTypes(_taken(route), _given(route), frozenset(_query(route.dependant)))


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


def _query(dependant: Dependant) -> set[str]:
    names = {one.alias for one in dependant.query_params}
    return names.union(*map(_query, dependant.dependencies))
