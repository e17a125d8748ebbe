"""Turns exceptions into application/problem+json answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from shared.http.known_fields import explain_unknown
from shared.http.negotiation import JSON
from shared.problems import (
    BY_STATUS,
    PROBLEM_MEDIA_TYPE,
    BadRequest,
    FieldError,
    Problem,
    UnprocessableContent,
    UnsupportedMediaType,
)
from shared.request_context import current_context, public_path

_LOOKED_AT = 1000
"""Findings of a part of a request that are looked at; a body may hold a hundred thousand."""
_LISTED = 100
"""Those that are listed: nobody reads more."""
_NAMED = 3
"""Findings that the sentence names."""
_LONGEST_NAME = 100

PROTOCOL_PATH = "/v2/"
"""Where the Open Inference Protocol is spoken."""


def problem_response(problem: Problem, *, path: str) -> Response:
    """The answer that tells of a problem. Clients of the Open Inference Protocol look for its member `error`."""
    context = current_context()
    details = problem.details(instance=public_path(path), request_id=context.request_id if context else None)
    members = details.model_dump(exclude_none=True)
    if path.startswith(PROTOCOL_PATH):
        members["error"] = problem.detail
    return Response(
        orjson.dumps(members),
        status_code=problem.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers=problem.headers,
    )


def json_pointer(location: Sequence[str | int]) -> str:
    """RFC 6901 pointer of a place that Pydantic names by its keys."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _explain(message: str) -> str:
    """Pydantic's message, in the words of HTTP where it speaks of Python."""
    if "Expected UploadFile" in message:
        return "This must be a file: a multipart part with a file name (curl -F 'file=@path')."
    return message.removeprefix("Value error, ")


def findings(error: ValidationError, *below: str) -> list[dict[str, Any]]:
    """What Pydantic has found in a part of a request, located in the whole.

    Args:
        error: of the part.
        below: where it is: "body", or further keys behind that.

    Raises:
        UnprocessableContent: it is too much to be looked at one by one, which takes a microsecond each.
    """
    if (count := error.error_count()) > _LOOKED_AT:
        detail = f"{count} faults were found here, too many to list: is it the document that was meant?"
        raise UnprocessableContent(detail, errors=[FieldError(pointer=json_pointer(below), detail=detail)])
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [cast("dict[str, Any]", one) | {"loc": (*below, *one["loc"])} for one in found]


def field_errors(
    errors: Sequence[Any], schema: Any, *, depth: int = 1, beside: Collection[str] = ()
) -> list[FieldError]:
    """What Pydantic has found, for people; no more than a hundred of it.

    Args:
        errors: as Pydantic lists them, each below "body", "query" or another part of the request.
        schema: type that this part was validated as.
        depth: keys of each location that are above that type.
        beside: names of further fields, which are validated elsewhere.
    """

    def explain(error: Mapping[str, Any]) -> str:
        if error["type"] == "extra_forbidden":
            return explain_unknown(schema, error["loc"][depth:], beside=beside)
        return _explain(error["msg"])

    return [FieldError(pointer=json_pointer(error["loc"]), detail=explain(error)) for error in errors[:_LISTED]]


def validation_problem(errors: Sequence[Any], schema: Any, *, beside: Collection[str] = ()) -> Problem:
    """The 422 (or 400, where the body is not JSON at all) that lists Pydantic's findings; as `field_errors`."""
    found = field_errors(errors, schema, beside=beside)
    if any(error["type"] == "json_invalid" for error in errors):
        return BadRequest("The body is not valid JSON.", errors=found)
    more = f"; and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
    return UnprocessableContent(
        f"The request does not fit the schema of this route. {_name(found[:_NAMED])}{more}", errors=found
    )


def _name(found: Sequence[FieldError]) -> str:
    """Fields and what is wrong with them, in a sentence; what is wrong with several is said once."""
    fields: dict[str, list[str]] = {}
    for error in found:
        fields.setdefault(error.detail, []).append(error.pointer.rpartition("/")[2][:_LONGEST_NAME])
    return "; ".join(f"{', '.join(names)}: {detail}" for detail, names in fields.items())


# The handlers are coroutines so that an error costs no trip through a thread. They read the path from the scope:
# `request.url` fails on a query that is not UTF-8.


async def _problem(request: Request, exception: Exception) -> Response:
    if not isinstance(exception, Problem):
        raise exception
    return problem_response(exception, path=request.scope["path"])


async def _validation(request: Request, exception: Exception) -> Response:
    if not isinstance(exception, RequestValidationError):
        raise exception
    errors = exception.errors()
    body = getattr(request.scope["route"], "body_field", None)
    problem = validation_problem(errors, body.field_info.annotation if body else None)
    # FastAPI gives a body that it was to read as JSON, and whose Content-Type is another, to Pydantic as it came.
    if isinstance(exception.body, bytes) and exception.body and any(error["loc"][:1] == ("body",) for error in errors):
        problem = unsupported_type(request.headers.get("content-type"), accepted=(JSON,))
    return problem_response(problem, path=request.scope["path"])


def unsupported_type(given: str | None, *, accepted: Sequence[str]) -> UnsupportedMediaType:
    """The 415 of a body whose Content-Type is not one that a route reads (RFC 9110, section 15.5.16).

    Args:
        given: Content-Type of the request, None without one.
        accepted: media types that the route reads; also in the header field Accept of the answer.
    """
    wanted = " or ".join(accepted)
    found = f"and not {given.partition(';')[0].strip()[:100]}" if given else "and has no Content-Type"
    detail = f"The body of this request must be {wanted} {found}. Send it with Content-Type: {accepted[0]}."
    return UnsupportedMediaType(detail, headers={"Accept": ", ".join(accepted)})


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_EXPLANATIONS = {
    404: "There is nothing at {path}. The routes are listed at /docs.",
    405: "{path} does not answer {method}. The Allow header and /docs name what it answers.",
}


def allowed_methods(request: Request) -> list[str]:
    """Every method that the request's path answers. The router itself names those of its first route only."""
    found = {
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    }
    if "GET" in found:
        found.add("HEAD")  # by `shared.http.head`, of which routes know nothing
    return [method for method in _METHODS if method in found]


async def _http(request: Request, exception: Exception) -> Response:
    if not isinstance(exception, HTTPException):
        raise exception
    kind = BY_STATUS.get(exception.status_code, BadRequest)
    template = _EXPLANATIONS.get(exception.status_code)
    detail = template.format(path=request.scope["path"], method=request.method) if template else str(exception.detail)
    problem = Problem.__new__(kind)
    headers = dict(exception.headers or {})
    if exception.status_code == 405:
        headers["Allow"] = ", ".join(allowed_methods(request))
    Problem.__init__(problem, detail, headers=headers)
    return problem_response(problem, path=request.scope["path"])


def install_problem_handlers(app: FastAPI) -> None:
    """Make an application answer every error as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
