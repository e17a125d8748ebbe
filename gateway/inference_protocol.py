"""The Open Inference Protocol for the fleet; what is below a model goes to its service (`gateway.routing`)."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter
from pydantic import BaseModel

from shared.http.application import VERSION
from shared.http.health import Check, passes
from shared.problems import ServiceUnavailable, problem_responses

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository"]

router = APIRouter(prefix="/v2", tags=["inference protocol"])


class ServerMetadata(BaseModel):
    """What speaks the protocol here (Open Inference Protocol, "Server Metadata")."""

    name: str = "facet"
    version: str = VERSION
    extensions: list[str] = EXTENSIONS


class ServerLiveness(BaseModel):
    """Whether the server answers."""

    live: bool = True


class ServerReadiness(BaseModel):
    """Whether the server and all its services can be asked."""

    ready: bool


@router.get("", summary="Server metadata")
async def read_server() -> ServerMetadata:
    """Name, version and extensions of the server."""
    return ServerMetadata()


@router.get("/health/live", summary="Is the server alive?")
async def read_liveness() -> ServerLiveness:
    """Answers as long as the gateway does."""
    return ServerLiveness()


def add_readiness(checks: Mapping[str, Check]) -> APIRouter:
    """The route that asks what /health/ready asks."""
    ready = APIRouter(prefix="/v2", tags=["inference protocol"])

    @ready.get(
        "/health/ready",
        summary="Is the server ready?",
        responses=problem_responses(ServiceUnavailable),
    )
    async def read_readiness() -> ServerReadiness:
        """200 when every service is ready, else 503."""
        if not await passes(checks):
            raise ServiceUnavailable("Not everything is ready. /health/ready says what is missing.", retry_after_s=2)
        return ServerReadiness(ready=True)

    return ready
