"""The protocol's routes of a service: metadata, readiness and inference of its models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from shared.inference_protocol.configuration import ModelConfiguration, configuration_of
from shared.inference_protocol.documentation import INFER_REQUEST, INFER_RESPONSES, ModelMetadata, ModelReadiness
from shared.inference_protocol.inference import HEADER_LENGTH, Inference
from shared.inference_protocol.signature import PLATFORM
from shared.inference_protocol.statistics import StatisticsAnswer, statistics_of
from shared.problems import NotFound, ServiceUnavailable, UnsupportedMediaType, problem_responses
from shared.runtime.models.registry import ModelRegistry
from shared.telemetry.model_totals import ModelTotals

_PARAMETERS = {
    "name": "The model's name",
    "version": "The model's version, the beginning of one (1 or 1.0: the newest that is served), or an alias",
}

_EXAMPLES = {"name": "low-dose-ct", "version": "1"}

ModelName = Annotated[str, Path(description=_PARAMETERS["name"], examples=[_EXAMPLES["name"]])]
ModelVersion = Annotated[str, Path(description=_PARAMETERS["version"], examples=[_EXAMPLES["version"]])]


def inference_router(registry: ModelRegistry, inference: Inference) -> APIRouter:
    """Routes under /v2/models.

    Args:
        registry: the models.
        inference: answers what is asked of them.
    """
    router = APIRouter(prefix="/v2/models", tags=["inference protocol"])
    _add_statistics(router, registry)  # first, as /v2/models/stats is no model
    _add_metadata(router, registry, inference)
    _add_readiness(router, registry)
    _add_configuration(router, registry, inference)

    async def infer(request: Request) -> Response:
        """Run the model on tensors: JSON, or Triton's binary tensor extension."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedMediaType("Compressed requests are not taken here: send it without Content-Encoding.")
        wanted, length = request.path_params, request.headers.get(HEADER_LENGTH.decode())
        answered = await inference.run(
            request.app.state.service.batchers,
            await request.body(),
            name=wanted["name"],
            version=wanted.get("version"),
            header_length=None if length is None else length.encode("latin-1"),
        )
        headers = {name.decode(): value.decode() for name, value in answered.headers}
        return Response(answered.body, answered.status, headers)

    for path in ("/{name}/infer", "/{name}/versions/{version}/infer"):
        router.add_api_route(
            path,
            infer,
            methods=["POST"],
            summary="Infer with a version" if "version" in path else "Infer",
            responses=INFER_RESPONSES,
            openapi_extra=INFER_REQUEST | {"parameters": _parameters(path)},
        )
    return router


def _parameters(path: str) -> list[dict[str, Any]]:
    names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    described = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "examples": [_EXAMPLES[name]]},
            "description": _PARAMETERS[name],
        }
        for name in names
    ]
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "schema": {"type": "integer"},
        "description": "Bytes of JSON in front of raw tensors; absent where all is JSON",
    }
    return [*described, length]


def _add_metadata(router: APIRouter, registry: ModelRegistry, inference: Inference) -> None:
    problems = problem_responses(NotFound, ServiceUnavailable)

    @router.get("/{name}", summary="Model metadata", responses=problems)
    async def read_metadata(name: ModelName) -> ModelMetadata:
        """Inputs and outputs of the default version, and which versions there are."""
        return _metadata(registry, inference, name)

    @router.get(
        "/{name}/versions/{version}",
        summary="Metadata of a version",
        responses=problems,
    )
    async def read_version(name: ModelName, version: ModelVersion) -> ModelMetadata:
        """Inputs and outputs of a version, and which others there are."""
        return _metadata(registry, inference, name, version)


def _metadata(registry: ModelRegistry, inference: Inference, name: str, version: str | None = None) -> ModelMetadata:
    signature = inference.signature(registry.get(name, version))
    return ModelMetadata(
        name=name,
        versions=registry.versions(name),
        platform=PLATFORM,
        inputs=[tensor.metadata() for tensor in signature.inputs.values()],
        outputs=[tensor.metadata() for tensor in signature.outputs.values()],
    )


def _add_readiness(router: APIRouter, registry: ModelRegistry) -> None:
    problems = problem_responses(NotFound, ServiceUnavailable)

    @router.get("/{name}/ready", summary="Is the model ready?", responses=problems)
    async def read_readiness(name: ModelName) -> ModelReadiness:
        """200 if it can be asked, else a problem."""
        registry.get(name)
        return ModelReadiness(name=name, ready=True)

    @router.get(
        "/{name}/versions/{version}/ready",
        summary="Is the version ready?",
        responses=problems,
    )
    async def read_version_readiness(name: ModelName, version: ModelVersion) -> ModelReadiness:
        """200 if it can be asked, else a problem."""
        registry.get(name, version)
        return ModelReadiness(name=name, ready=True)


def _add_configuration(router: APIRouter, registry: ModelRegistry, inference: Inference) -> None:
    problems = problem_responses(NotFound, ServiceUnavailable)

    def configuration(request: Request, name: str, version: str | None = None) -> ModelConfiguration:
        rows = request.app.state.service.settings.batch_rows
        return configuration_of(inference.signature(registry.get(name, version)), rows=rows)

    @router.get(
        "/{name}/config",
        summary="Configuration of a model",
        responses=problems,
        response_model_exclude_none=True,
    )
    async def read_configuration(request: Request, name: ModelName) -> ModelConfiguration:
        """The default version in the words of Triton's configuration extension."""
        return configuration(request, name)

    @router.get(
        "/{name}/versions/{version}/config",
        summary="Configuration of a version",
        response_model_exclude_none=True,
        responses=problems,
    )
    async def read_version_configuration(
        request: Request, name: ModelName, version: ModelVersion
    ) -> ModelConfiguration:
        """A version in the words of Triton's configuration extension."""
        return configuration(request, name, version)


def _add_statistics(router: APIRouter, registry: ModelRegistry) -> None:
    problems = problem_responses(NotFound, ServiceUnavailable)

    def statistics(request: Request, versions: Iterable[tuple[str, str]]) -> StatisticsAnswer:
        batchers, requests = request.app.state.service.batchers, request.app.state.metrics.models.totals
        listed = [
            statistics_of(
                *one,
                requests.get(one) or ModelTotals(),
                batchers.totals(*one),
                remembered=batchers.remembered(*one),
            )
            for one in versions
        ]
        return StatisticsAnswer(model_stats=listed)

    @router.get("/stats", include_in_schema=False)  # the gateway's own route of this name asks all services
    async def read_all(request: Request) -> StatisticsAnswer:
        """Statistics of all versions of all models here."""
        opened = (entry.card for entry in registry.entries if entry.state == "ready")
        return statistics(request, [(card.name, card.version) for card in opened])

    @router.get("/{name}/stats", summary="Statistics of a model", responses=problems)
    async def read_model(request: Request, name: ModelName) -> StatisticsAnswer:
        """What each version of the model was asked since its service began, and how long that took."""
        registry.get(name)
        return statistics(request, [(name, version) for version in registry.versions(name)])

    @router.get(
        "/{name}/versions/{version}/stats",
        summary="Statistics of a version",
        responses=problems,
    )
    async def read_version(request: Request, name: ModelName, version: ModelVersion) -> StatisticsAnswer:
        """What the version was asked since its service began, and how long that took."""
        return statistics(request, [(name, registry.get(name, version).card.version)])
