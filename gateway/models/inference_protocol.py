"""The Open Inference Protocol for the fleet; what is below a model goes to its service (`gateway.upstream.routing`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel, Field, ValidationError

from gateway.state import Gateway
from gateway.upstream.services import ServiceUnreadable, Upstreams
from shared.http.application import VERSION
from shared.http.health import Check, passes
from shared.inference_protocol.statistics import StatisticsAnswer
from shared.problems import ServiceUnavailable, problem_responses
from shared.settings import DOMAINS, Domain

STATISTICS_PATH: Final = "/v2/models/stats"
"""No model, but the statistics of all of them."""

_TIMEOUT_S = 3.0

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]

router = APIRouter(prefix="/v2", tags=["inference protocol"])


class ServerMetadata(BaseModel):
    """What speaks the protocol here (Open Inference Protocol, "Server Metadata")."""

    name: str = Field(default="facet", description="Name of the server")
    version: str = Field(default=VERSION, description="Version of the server")
    extensions: list[str] = Field(default=EXTENSIONS, description="Extensions of the protocol that it speaks")


class ServerLiveness(BaseModel):
    """Whether the server answers."""

    live: bool = Field(default=True, description="Always true, as there is an answer")


class ServerReadiness(BaseModel):
    """Whether the server and all its services can be asked."""

    ready: bool = Field(description="Whether all models can be asked")


@router.get("", summary="Server metadata")
async def read_server() -> ServerMetadata:
    """Name, version and extensions of the server."""
    return ServerMetadata()


@router.get("/health/live", summary="Is the server alive?")
async def read_liveness() -> ServerLiveness:
    """Answers as long as the gateway does."""
    return ServerLiveness()


class FleetStatistics(StatisticsAnswer):
    """Statistics of all models of the fleet."""

    unavailable: dict[str, str] = Field(
        description="Services that could not be asked, and why; their models are missing above", examples=[{}]
    )


@router.get("/models/stats", summary="Statistics of all models")
async def list_statistics(gateway: Gateway) -> FleetStatistics:
    """What each version of each model was asked since its service began, and how long that took."""
    answers = await asyncio.gather(*(_statistics(gateway.upstreams, domain) for domain in DOMAINS))
    told = dict(zip(DOMAINS, answers, strict=True))
    return FleetStatistics(
        model_stats=[one for answer in told.values() if not isinstance(answer, str) for one in answer.model_stats],
        unavailable={domain: answer for domain, answer in told.items() if isinstance(answer, str)},
    )


async def _statistics(upstreams: Upstreams, domain: Domain) -> StatisticsAnswer | str:
    try:
        answer = await upstreams.get_json(domain, STATISTICS_PATH, timeout_s=_TIMEOUT_S)
        return StatisticsAnswer.model_validate(answer)
    except ServiceUnreadable as failure:
        return str(failure)
    except ValidationError:
        return "its answer is no statistics"


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
