"""The Open Inference Protocol at the door: /v2 answers for the fleet, what is below a model goes to its service."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from gateway.directory import Directory
from gateway.proxy import Proxy
from shared.http.application import VERSION
from shared.http.health import Check, passes
from shared.problems import NotFound, ServiceUnavailable, problem_responses
from shared.settings import Domain

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


class ModelProxy:
    """ASGI application that passes a request on to the service that has the model.

    Args:
        directory: knows which.
        proxies: one for each service.
    """

    def __init__(self, directory: Directory, proxies: Mapping[Domain, Proxy]) -> None:
        self._directory, self._proxies = directory, proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        name: str = scope["path_params"]["name"]
        if "/" in name or not name:
            raise NotFound("A model has a name without a slash.")
        domain = self._directory.known(name) or await self._directory.domain_of(name)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 404:
                self._directory.doubt(name)
            await send(message)

        await self._proxies[domain](scope, receive, noting)


class ModelRoute(Route):
    """Everything below a model; metrics and logs know it by this template."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `Route`."""
        scope["route"] = self
        await super().handle(scope, receive, send)


def model_routes(directory: Directory, proxies: Mapping[Domain, Proxy]) -> list[Route]:
    """Routes of all models."""
    proxy = ModelProxy(directory, proxies)
    return [
        ModelRoute("/v2/models/{name}", proxy, include_in_schema=False),
        ModelRoute("/v2/models/{name}/{rest:path}", proxy, include_in_schema=False),
    ]
