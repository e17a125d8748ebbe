"""JSON bodies that are read whatever their Content-Type says, for routes whose clients do not care for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from shared.problems import BadRequest, ContentTooLarge, FieldError, UnprocessableContent

_LARGEST_BODY: Final = 1024 * 1024

Body = TypeVar("Body", bound=BaseModel)


def json_body(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads a request's body as JSON. The model's fields have defaults, for a body of nothing.

    Raises:
        BadRequest: it is no JSON.
        ContentTooLarge: it has more than 1 MiB.
        UnprocessableContent: it is no object with such fields.
    """

    async def read(request: Request) -> Body:
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > _LARGEST_BODY:
                raise ContentTooLarge(f"The body may have {_LARGEST_BODY} bytes. Models come by POST /v1/models.")
        try:
            return model.model_validate_json(content.strip() or b"{}")
        except ValidationError as error:
            raise _problem_of(error) from None

    return read


def _problem_of(error: ValidationError) -> BadRequest | UnprocessableContent:
    faults = error.errors(include_url=False, include_input=False)
    if faults[0]["type"] == "json_invalid":
        return BadRequest(f"The body is not valid JSON: {faults[0]['msg']}.")
    errors = [FieldError(pointer="/".join(["/body", *map(str, one["loc"])]), detail=one["msg"]) for one in faults]
    return UnprocessableContent(f"{errors[0].pointer}: {errors[0].detail}.", errors=errors)


def body_documentation(model: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI is told of such a body (`openapi_extra`)."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}
