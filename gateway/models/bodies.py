"""JSON bodies that are read whatever their Content-Type says, for routes whose clients do not care for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from shared.http.errors import findings, validation_problem
from shared.http.json_bodies import SMALL_JSON_BYTES, read_body

Body = TypeVar("Body", bound=BaseModel)


def json_body(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads a request's body as JSON. The model's fields have defaults, for a body of nothing.

    Raises:
        BadRequest: it is no JSON.
        ContentTooLarge: it has more than 64 KiB.
        UnprocessableContent: it is no object with such fields.
    """

    async def read(request: Request) -> Body:
        content = await read_body(request, SMALL_JSON_BYTES, hint="Models come by POST /v1/models.")
        try:
            return model.model_validate_json(content.strip() or b"{}")
        except ValidationError as error:
            raise validation_problem(findings(error, "body"), model) from None

    return read


def body_documentation(model: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI is told of such a body (`openapi_extra`)."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}
