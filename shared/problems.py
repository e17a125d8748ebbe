"""Errors as application/problem+json (RFC 9457): one exception tree that answers requests and documents itself.

    Problem
    ├── BadRequest 400 ── Unauthorized 401 ── Forbidden 403 ── NotFound 404 ── MethodNotAllowed 405
    ├── NotAcceptable 406 ── RequestTimeout 408 ── Conflict 409 ── Gone 410 ── ContentTooLarge 413
    ├── PreconditionFailed 412 ── UnsupportedMediaType 415 ── RangeNotSatisfiable 416 ── MisdirectedRequest 421
    ├── UnprocessableContent 422 ── HeadersTooLarge 431
    ├── TooManyRequests 429 ── QuotaExceeded 429
    └── InternalError 500 ── BadGateway 502 ── ServiceUnavailable 503 ── ReducedCapacity 503 ── GatewayTimeout 504

Raise one anywhere below a route; `shared.http` turns it into the answer. Details are written for the caller
and never hold patient data, paths or stack traces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, Field

PROBLEM_MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One fault of one field of the request."""

    pointer: str = Field(description="JSON pointer (RFC 6901) to the field", examples=["/body/window"])
    detail: str = Field(description="What is wrong with it and what would be right")


class ProblemDetails(BaseModel):
    """The body of every error (RFC 9457)."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    type: str = Field(description="Identifies the kind of problem", examples=["/problems/unprocessable-content"])
    title: str = Field(description="The kind of problem in words")
    status: int = Field(description="The HTTP status code")
    detail: str = Field(description="What went wrong this time and what to do about it")
    instance: str | None = Field(default=None, description="The path that was asked for")
    request_id: str | None = Field(default=None, description="Name this when you report the problem")
    errors: list[FieldError] = Field(default_factory=list, description="The fields at fault")
    violated_policies: list[str] | None = Field(
        default=None,
        alias="violated-policies",
        description="The quota policies that are used up, as RateLimit-Policy names them",
    )


class Problem(Exception):
    """An error with an HTTP answer.

    Args:
        detail: what went wrong, for the caller.
        errors: the fields at fault.
        headers: further response headers, such as Retry-After.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    registered_type: ClassVar[str | None] = None
    """Type of the IANA registry of problem types, where it has one that fits better than the slug."""
    violated_policies: Sequence[str] = ()

    def __init__(
        self, detail: str, *, errors: Iterable[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def details(self, *, instance: str | None = None, request_id: str | None = None) -> ProblemDetails:
        """The body that describes this problem."""
        return ProblemDetails(
            type=self.registered_type or f"/problems/{self.slug}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=instance,
            request_id=request_id,
            errors=self.errors,
            violated_policies=list(self.violated_policies) or None,
        )


class BadRequest(Problem):
    """The request cannot be read as HTTP, JSON or multipart."""

    status, slug, title = 400, "bad-request", "Bad request"


class Unauthorized(Problem):
    """The caller is unknown."""

    status, slug, title = 401, "unauthorized", "Unauthorized"


class Forbidden(Problem):
    """The caller is known and may not do this."""

    status, slug, title = 403, "forbidden", "Forbidden"


class NotFound(Problem):
    """There is nothing at this address."""

    status, slug, title = 404, "not-found", "Not found"


class MethodNotAllowed(Problem):
    """The address exists, but not with this method."""

    status, slug, title = 405, "method-not-allowed", "Method not allowed"


class NotAcceptable(Problem):
    """None of the media types in Accept can be made."""

    status, slug, title = 406, "not-acceptable", "Not acceptable"


class RequestTimeout(Problem):
    """The request did not arrive in time."""

    status, slug, title = 408, "request-timeout", "Request timeout"


class Conflict(Problem):
    """The resource is in a state that does not allow this."""

    status, slug, title = 409, "conflict", "Conflict"


class Gone(Problem):
    """The resource was kept for its stated time and is no more."""

    status, slug, title = 410, "gone", "Gone"


class PreconditionFailed(Problem):
    """The resource is no longer as the condition of the request says."""

    status, slug, title = 412, "precondition-failed", "Precondition failed"


class ContentTooLarge(Problem):
    """The body, or what it would decode to, is over a limit."""

    status, slug, title = 413, "content-too-large", "Content too large"


class UnsupportedMediaType(Problem):
    """The body is of a type, or in a transfer syntax, that cannot be read."""

    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"


class RangeNotSatisfiable(Problem):
    """The part that is asked for lies behind the end."""

    status, slug, title = 416, "range-not-satisfiable", "Range not satisfiable"


class MisdirectedRequest(Problem):
    """The gateway does not answer to the name in the Host field."""

    status, slug, title = 421, "misdirected-request", "Misdirected request"


class UnprocessableContent(Problem):
    """The request can be read, but its content is wrong."""

    status, slug, title = 422, "unprocessable-content", "Unprocessable content"


class TooManyRequests(Problem):
    """The caller's quota is used up."""

    status, slug, title = 429, "too-many-requests", "Too many requests"


class QuotaExceeded(TooManyRequests):
    """The caller's quota is used up (draft-ietf-httpapi-ratelimit-headers).

    Args:
        detail: which quota, and what to do.
        policies: names of the policies that are used up, as RateLimit-Policy gives them.
        retry_after_s: seconds after which another try makes sense.
        headers: further response headers, such as RateLimit.
    """

    title = "Quota exceeded"
    registered_type = "https://iana.org/assignments/http-problem-types#quota-exceeded"

    def __init__(
        self, detail: str, *, policies: Sequence[str], retry_after_s: int, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail, headers={**(headers or {}), "Retry-After": str(max(1, retry_after_s))})
        self.violated_policies = tuple(policies)


class HeadersTooLarge(Problem):
    """The header fields are over a limit."""

    status, slug, title = 431, "headers-too-large", "Request header fields too large"


class InternalError(Problem):
    """A fault of Facet itself."""

    status, slug, title = 500, "internal-error", "Internal error"

    @classmethod
    def unforeseen(cls) -> InternalError:
        """An exception that nothing caught."""
        return cls("Facet failed on this request. The log holds the reason under the request id.")


class NotImplementedHere(Problem):
    """The method or the transfer coding is not known here."""

    status, slug, title = 501, "not-implemented", "Not implemented"


class BadGateway(Problem):
    """A service answered with something that is not HTTP."""

    status, slug, title = 502, "bad-gateway", "Bad gateway"


class ServiceUnavailable(Problem):
    """What is needed is not there at present.

    Args:
        detail: what is missing and how to get it.
        retry_after_s: seconds after which another try makes sense.
    """

    status, slug, title = 503, "service-unavailable", "Service unavailable"

    def __init__(self, detail: str, *, retry_after_s: int = 5, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail, errors=errors, headers={"Retry-After": str(max(1, retry_after_s))})


class ReducedCapacity(ServiceUnavailable):
    """There is more work waiting than is taken (draft-ietf-httpapi-ratelimit-headers)."""

    title = "Temporary reduced capacity"
    registered_type = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"


class GatewayTimeout(Problem):
    """A service did not answer in time."""

    status, slug, title = 504, "gateway-timeout", "Gateway timeout"


BY_STATUS: dict[int, type[Problem]] = {
    kind.status: kind
    for kind in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, RequestTimeout, Conflict,
        Gone, PreconditionFailed, ContentTooLarge, UnsupportedMediaType, RangeNotSatisfiable, MisdirectedRequest,
        UnprocessableContent, TooManyRequests, HeadersTooLarge, InternalError, NotImplementedHere, BadGateway,
        ServiceUnavailable, GatewayTimeout,
    )
}  # fmt: skip
"""The problem type that stands for a bare status code."""


def field_problem(pointer: str, detail: str) -> UnprocessableContent:
    """A 422 about a single field: the detail names the fault, the pointer the place."""
    return UnprocessableContent(detail, errors=[FieldError(pointer=pointer, detail=detail)])


def problem_responses(*kinds: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` of a route that may raise these problems."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        summary = cast("str", kind.__doc__).strip().splitlines()[0]
        responses[kind.status] = {"description": summary, "content": {PROBLEM_MEDIA_TYPE: _problem_content(kind)}}
    return responses


def _problem_content(kind: type[Problem]) -> dict[str, Any]:
    example = {
        "type": kind.registered_type or f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": cast("str", kind.__doc__).strip().splitlines()[0],
        "request_id": "0f3c8a5e61b94f0d9a27d3be5c71e846",
        "errors": [],
    }
    return {"schema": {"$ref": "#/components/schemas/ProblemDetails"}, "example": example}
