"""The protocol's routes of a service: metadata, readiness and inference of its models."""

from __future__ import annotations

import math
from typing import Annotated, Any
from weakref import WeakKeyDictionary

import numpy as np
from fastapi import APIRouter, Path, Request, Response
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from shared.http.thin import ThinRoute, read_body
from shared.inference_protocol.answers import write_answer
from shared.inference_protocol.documentation import INFER_REQUEST, INFER_RESPONSES, ModelMetadata, ModelReadiness
from shared.inference_protocol.requests import InferenceRequest, read_request, split_request
from shared.inference_protocol.signature import PLATFORM, Signature, signature_of
from shared.problems import (
    BadRequest,
    NotFound,
    ServiceUnavailable,
    UnsupportedMediaType,
    field_problem,
    problem_responses,
)
from shared.runtime.batchers import Batchers
from shared.runtime.registry import ModelRegistry
from shared.runtime.sessions import OnnxModel
from shared.telemetry.timing import timed

HEADER_LENGTH = "inference-header-content-length"
_OCTETS = "application/octet-stream"
_REASON_CHARACTERS = 300

ModelName = Annotated[str, Path(description="The model's name")]
ModelVersion = Annotated[str, Path(description="The model's version, or an alias of one")]


def inference_router(registry: ModelRegistry) -> APIRouter:
    """Routes under /v2/models.

    Args:
        registry: the models.
    """
    router = APIRouter(prefix="/v2/models", tags=["inference protocol"])
    _add_metadata(router, registry)
    _add_readiness(router, registry)
    signatures: WeakKeyDictionary[OnnxModel, Signature] = WeakKeyDictionary()

    async def infer(request: Request) -> Response:
        """Run the model on tensors: JSON, or Triton's binary tensor extension."""
        wanted = request.path_params
        with timed("pre"):
            name, version = wanted["name"], wanted.get("version")
            registry.get(name, version)  # what is not here is refused before the body is read
            parts = split_request(await read_body(request), header_bytes=_header_bytes(request))
            model = registry.get(name, version, request_id=parts.id or None)
            signature = signatures.get(model) or signatures.setdefault(model, _signature(model))
            asked = read_request(parts, signature=signature)
        batchers: Batchers = request.app.state.service.batchers
        outputs = await _compute(model, batchers, signature, asked)
        with timed("post"):
            return _answer(model, signature, asked, outputs)

    for path in ("/{name}/infer", "/{name}/versions/{version}/infer"):
        router.add_api_route(
            path,
            infer,
            methods=["POST"],
            summary="Infer with a version" if "version" in path else "Infer",
            operation_id="protocol-version-infer" if "version" in path else "protocol-infer",
            responses=INFER_RESPONSES,
            openapi_extra=INFER_REQUEST | {"parameters": _parameters(path)},
            route_class_override=ThinRoute,
        )
    return router


_PARAMETERS = {"name": "The model's name", "version": "The model's version, or an alias of one"}


def _parameters(path: str) -> list[dict[str, Any]]:
    names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    schema = {"type": "string"}
    described = [
        {"name": name, "in": "path", "required": True, "schema": schema, "description": _PARAMETERS[name]}
        for name in names
    ]
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "schema": {"type": "integer"},
        "description": "Bytes of JSON in front of raw tensors; absent where all is JSON",
    }
    return [*described, length]


def _add_metadata(router: APIRouter, registry: ModelRegistry) -> None:
    problems = problem_responses(NotFound, ServiceUnavailable)

    @router.get("/{name}", summary="Model metadata", operation_id="protocol-metadata", responses=problems)
    async def read_metadata(name: ModelName) -> ModelMetadata:
        """Inputs and outputs of the default version, and which versions there are."""
        return _metadata(registry, name)

    @router.get(
        "/{name}/versions/{version}",
        summary="Metadata of a version",
        operation_id="protocol-version-metadata",
        responses=problems,
    )
    async def read_version(name: ModelName, version: ModelVersion) -> ModelMetadata:
        """Inputs and outputs of a version, and which others there are."""
        return _metadata(registry, name, version)


def _metadata(registry: ModelRegistry, name: str, version: str | None = None) -> ModelMetadata:
    signature = _signature(registry.get(name, version))
    return ModelMetadata(
        name=name,
        versions=registry.versions(name),
        platform=PLATFORM,
        inputs=[tensor.metadata() for tensor in signature.inputs.values()],
        outputs=[tensor.metadata() for tensor in signature.outputs.values()],
    )


def _add_readiness(router: APIRouter, registry: ModelRegistry) -> None:
    problems = problem_responses(NotFound, ServiceUnavailable)

    @router.get("/{name}/ready", summary="Is the model ready?", operation_id="protocol-ready", responses=problems)
    async def read_readiness(name: ModelName) -> ModelReadiness:
        """200 if it can be asked, else a problem."""
        registry.get(name)
        return ModelReadiness(name=name, ready=True)

    @router.get(
        "/{name}/versions/{version}/ready",
        summary="Is the version ready?",
        operation_id="protocol-version-ready",
        responses=problems,
    )
    async def read_version_readiness(name: ModelName, version: ModelVersion) -> ModelReadiness:
        """200 if it can be asked, else a problem."""
        registry.get(name, version)
        return ModelReadiness(name=name, ready=True)


def _signature(model: OnnxModel) -> Signature:
    try:
        return signature_of(model.card)
    except KeyError as error:
        raise NotFound(
            f"{model.card.name} has tensors of {error.args[0]}, which this protocol does not know."
        ) from None


def _header_bytes(request: Request) -> int | None:
    if "content-encoding" in request.headers:
        raise UnsupportedMediaType("Compressed requests are not taken here: send it without Content-Encoding.")
    value = request.headers.get(HEADER_LENGTH)
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 12:
        raise BadRequest("Inference-Header-Content-Length must be the number of bytes of JSON in front of the tensors.")
    return int(value)


async def _compute(
    model: OnnxModel, batchers: Batchers, signature: Signature, asked: InferenceRequest
) -> dict[str, np.ndarray[Any, Any]]:
    try:
        answer = await batchers.of(model).infer(
            asked.inputs, stackable=signature.stackable, deadline_s=asked.timeout_s or math.inf
        )
    except (
        onnxruntime_errors.InvalidArgument,
        onnxruntime_errors.Fail,
        onnxruntime_errors.RuntimeException,
    ) as error:
        reason = str(error).replace("\n", " ")[:_REASON_CHARACTERS]
        raise field_problem("/body/inputs", f"The model cannot compute these tensors: {reason}") from None
    return dict(zip(signature.outputs, answer, strict=True))


def _answer(
    model: OnnxModel, signature: Signature, asked: InferenceRequest, outputs: dict[str, np.ndarray[Any, Any]]
) -> Response:
    body, header_bytes = write_answer(
        signature,
        {name: outputs[name] for name in asked.outputs},
        raw=asked.outputs,
        request_id=asked.id,
        digest=model.card.weights.sha256,
    )
    if header_bytes is None:
        return Response(body, media_type="application/json")
    return Response(body, media_type=_OCTETS, headers={HEADER_LENGTH: str(header_bytes)})
