"""Paths, parameters and documented answers that several routes share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Final

from fastapi import Header, Path

from shared.http.route_parts import POST_PROBLEMS
from shared.problems import (
    Conflict,
    NotFound,
    PreconditionFailed,
    ServiceUnavailable,
    UnprocessableContent,
    problem_responses,
)

PREFIX: Final = "/v1/uncertainty"
TAGS: Final[list[str | Enum]] = ["conformal"]

CalibrationId = Annotated[
    str,
    Path(
        description="Id of the calibration, from the Location of the answer that made it",
        examples=["019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"],
    ),
]

READING: Final = problem_responses(NotFound, ServiceUnavailable)
POSTING: Final = {**POST_PROBLEMS, **problem_responses(Conflict)}
LISTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": {"Link": {"description": '`rel="next"`: the next page', "schema": {"type": "string"}}}},
    **problem_responses(UnprocessableContent, ServiceUnavailable),
}
CREATED: Final[dict[str, Any]] = {
    "headers": {"Location": {"description": "Path of what was made", "schema": {"type": "string"}}}
}
RUNNING: Final = {**POSTING, **problem_responses(PreconditionFailed)}
IF_MATCH = Annotated[
    str | None,
    Header(
        description="ETag that it must have; otherwise nothing is observed and the answer is 412", examples=['"12"']
    ),
]
