"""What routes that take files and answer with files have in common, for their schemas and their documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Header, UploadFile
from pydantic import AfterValidator, WithJsonSchema

from shared.problems import (
    BadRequest,
    ContentTooLarge,
    NotAcceptable,
    ServiceUnavailable,
    UnprocessableContent,
    UnsupportedMediaType,
    problem_responses,
)

File = Annotated[UploadFile, WithJsonSchema({"type": "string", "format": "binary"})]
"""A file of a multipart form, in the form that Swagger UI draws a file chooser for."""

BINARY: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
"""OpenAPI of a body that is a file."""

PREFER: Final = "`respond-async` makes a job of one file too; `wait=N` waits N seconds for a job (RFC 7240)"
"""Description of the header field of a route that answers at once or by a job."""

WaitPreference = Annotated[
    str | None, Header(alias="prefer", description="`wait=N` waits N seconds for the job (RFC 7240)")
]
"""The header field of a route that makes a job, for its documentation: `preferences_of` reads all lines of it."""

POST_PROBLEMS: Final = problem_responses(
    BadRequest, NotAcceptable, ContentTooLarge, UnsupportedMediaType, UnprocessableContent, ServiceUnavailable
)
"""OpenAPI `responses` of what may be wrong with any POST."""


def checked_by(parse: Callable[[str], object]) -> AfterValidator:
    """For a field of a form whose text is parsed later: refuses what cannot be parsed, and keeps the text.

    Args:
        parse: raises ValueError at a text that does not fit.
    """

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


def binary_content(*media_types: str) -> dict[str, Any]:
    """OpenAPI `content` of an answer that is a file of one of these types."""
    return dict.fromkeys(media_types, BINARY)
