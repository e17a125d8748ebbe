"""Triton's model repository extension, so that its clients list, load and unload models.

Bodies are read as JSON whatever their Content-Type says: Triton's clients send none, and curl -d that of a form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from gateway.models.bodies import body_documentation, json_body
from gateway.models.listing import FleetCard, ModelName, ask_all, find_versions
from gateway.models.management import PROBLEMS, Managed
from gateway.models.versions import load_version
from gateway.state import Gateway
from shared.deployments.desired_state import DesiredState
from shared.problems import (
    BadRequest,
    Conflict,
    ContentTooLarge,
    UnprocessableContent,
    field_problem,
    problem_responses,
)

router = APIRouter(prefix="/v2/repository", tags=["inference protocol"])

_STATES = {"ready": "READY", "loading": "LOADING", "unloaded": "UNAVAILABLE", "failed": "UNAVAILABLE"}
_UNWANTED = ("config", "file:")


class IndexQuery(BaseModel):
    """What to list."""

    ready: bool = Field(default=False, description="Only what can be asked")


class IndexEntry(BaseModel):
    """One version of a model."""

    name: str = Field(description="Name of the model")
    version: str = Field(description="Version of the model")
    state: str = Field(description="Whether it can be asked, in Triton's words", examples=["READY"])
    reason: str = Field(description="Why it cannot; empty where it can")


class RepositoryOrder(BaseModel):
    """Parameters of Triton's load and unload."""

    parameters: dict[str, Any] = Field(default={}, description="A model's file or configuration is not taken here")


Query = Annotated[IndexQuery, Depends(json_body(IndexQuery))]
Order = Annotated[RepositoryOrder, Depends(json_body(RepositoryOrder))]

_INDEX_PROBLEMS = problem_responses(BadRequest, ContentTooLarge, UnprocessableContent)
_ORDER_PROBLEMS = problem_responses(ContentTooLarge, *PROBLEMS)


@router.post(
    "/index", summary="Index of models", responses=_INDEX_PROBLEMS, openapi_extra=body_documentation(IndexQuery)
)
async def index(gateway: Gateway, query: Query) -> list[IndexEntry]:
    """Every version of every model and its state (Triton, "Model Repository Extension")."""
    models = (await ask_all(gateway.upstreams)).models
    return [_entry(model) for model in models if model.state == "ready" or not query.ready]


def _entry(model: FleetCard) -> IndexEntry:
    reason = model.reason or ("unloaded" if model.state == "unloaded" else "")
    return IndexEntry(name=model.name, version=model.version, state=_STATES[model.state], reason=reason)


@router.post(
    "/models/{name}/load",
    summary="Load a model",
    responses=_ORDER_PROBLEMS,
    openapi_extra=body_documentation(RepositoryOrder),
)
async def load_model(models: Managed, name: ModelName, order: Order) -> Response:
    """Open all uploaded versions of a model; released ones are open. Files come by POST /v1/models only."""
    for parameter in order.parameters:
        if parameter.startswith(_UNWANTED):
            raise field_problem(f"/body/parameters/{parameter}", "Files and configurations come by POST /v1/models.")
    for found in find_versions(await models.fleet(), name):
        if found.origin == "uploaded" and found.state != "ready":
            await load_version(models, found)
    return Response()


@router.post(
    "/models/{name}/unload",
    summary="Unload a model",
    responses=_ORDER_PROBLEMS,
    openapi_extra=body_documentation(RepositoryOrder),
)
async def unload_model(models: Managed, name: ModelName, order: Order) -> Response:
    """Close all uploaded versions of a model."""
    del order  # Triton's unload_dependents: nothing here depends on another
    found = [model for model in find_versions(await models.fleet(), name) if model.origin == "uploaded"]
    if not found:
        raise Conflict(f"All versions of {name} were released with the service and cannot be unloaded.")
    await models.change(name, lambda plan: _unloaded(plan, name, [model.version for model in found]))
    return Response()


def _unloaded(plan: DesiredState, name: str, versions: Sequence[str]) -> DesiredState:
    """All of them or none: the first that an alias or a canary names is a problem."""
    for version in versions:
        plan = plan.with_loaded(name, version, loaded=False)
    return plan
