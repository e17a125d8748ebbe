"""The root: a small index for programs, the documentation for people."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, Field

from shared.http.application import VERSION
from shared.http.negotiation import JSON, choose_media_type
from shared.problems import NotAcceptable, problem_responses
from shared.request_context import public_path

router = APIRouter(tags=["gateway"])


class Index(BaseModel):
    """Where everything is."""

    name: str = Field(default="Facet", description="Name of the fleet")
    version: str = Field(description="Its version", default=VERSION, examples=["0.1.0"])
    documentation: str = Field(description="Path of Swagger UI", examples=["/docs"])
    openapi: str = Field(description="Path of this document", examples=["/openapi.json"])
    jobs: str = Field(description="Path of the jobs", examples=["/v1/jobs"])
    models: str = Field(description="Path of the models", examples=["/v1/models"])
    live: str = Field(description="Path of the liveness probe", examples=["/health/live"])
    ready: str = Field(description="Path of the readiness probe", examples=["/health/ready"])
    metrics: str = Field(description="Path of the metrics", examples=["/metrics"])

    @classmethod
    def of_gateway(cls) -> Self:
        """The index, as the caller of the request at hand can follow it."""
        return cls(
            documentation=public_path("/docs"),
            openapi=public_path("/openapi.json"),
            jobs=public_path("/v1/jobs"),
            models=public_path("/v1/models"),
            live=public_path("/health/live"),
            ready=public_path("/health/ready"),
            metrics=public_path("/metrics"),
        )


@router.get(
    "/",
    summary="Where everything is",
    response_model=Index,
    responses={
        303: {"description": "To the documentation, for readers who prefer text/html"},
        **problem_responses(NotAcceptable),
    },
)
async def index(response: Response, accept: Annotated[str | None, Header()] = None) -> Index | Response:
    """Paths of the documentation, the OpenAPI document, jobs, models, health and metrics."""
    if choose_media_type(accept, [JSON, "text/html"]) != JSON:
        return Response(status_code=303, headers={"Location": "/docs", "Vary": "Accept"})
    response.headers["Vary"] = "Accept"
    response.headers["Link"] = '</openapi.json>; rel="service-desc", </docs>; rel="service-doc"'
    return Index.of_gateway()
