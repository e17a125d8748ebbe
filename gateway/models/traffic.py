"""Which version answers: aliases, the default among them, and a canary beside it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from gateway.models.listing import CanaryShare, FleetCard, ModelName, ModelOverview, find_versions, overview
from gateway.models.management import PROBLEMS, Managed
from shared.deployments.desired_state import require_alias
from shared.http.json_bodies import JsonRoute
from shared.problems import Conflict, ContentTooLarge, NotFound, ServiceUnavailable, problem_responses
from shared.runtime.models.version_routing import Canary

router = APIRouter(prefix="/v1/models/{name}", tags=["models"], route_class=JsonRoute)

_PROBLEMS = problem_responses(*PROBLEMS)
_BODY_PROBLEMS = problem_responses(ContentTooLarge, *PROBLEMS)
_READ_PROBLEMS = problem_responses(NotFound, ServiceUnavailable)

Alias = Annotated[
    str, Path(description="Name of the alias; `default` answers requests that name no version", examples=["default"])
]


class AliasTarget(BaseModel):
    """The version that an alias names."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field(description="Version that the alias is to name", examples=["1.0.0"])


class CanaryOrder(CanaryShare):
    """A version, and the share of requests that it is to get."""

    model_config = ConfigDict(extra="forbid")


@router.get("/aliases/{alias}", summary="Read an alias", responses=_READ_PROBLEMS)
async def get_alias(models: Managed, name: ModelName, alias: Alias) -> AliasTarget:
    """The version that it names."""
    for model in find_versions(await models.fleet(), name):
        if alias in model.aliases:
            return AliasTarget(version=model.version)
    raise NotFound(f"{name} has no alias {alias}.")


@router.put("/aliases/{alias}", summary="Point an alias at a version", responses=_BODY_PROBLEMS)
async def put_alias(models: Managed, name: ModelName, alias: Alias, target: AliasTarget) -> AliasTarget:
    """Requests find the alias wherever a version stands, as soon as this is answered; rolling back is pointing back."""
    require_alias(alias)
    version = _open(await models.version(name, target.version)).version
    await models.change(name, lambda plan: plan.with_alias(name, alias, version))
    return AliasTarget(version=version)


@router.delete("/aliases/{alias}", summary="Remove an alias", status_code=204, responses=_PROBLEMS)
async def delete_alias(models: Managed, name: ModelName, alias: Alias) -> None:
    """Without the alias `default`, the newest version answers requests that name none."""
    await models.change(name, lambda plan: plan.without_alias(name, alias))


@router.put("/canary", summary="Send a share of requests to a version", responses=_BODY_PROBLEMS)
async def put_canary(models: Managed, name: ModelName, order: CanaryOrder) -> ModelOverview:
    """That share of the requests that name no version goes to it, by a hash of the request's id: a repeated id gets the
    same version. Answers name the version that gave them.
    """
    version = _open(await models.version(name, order.version)).version
    await models.change(name, lambda plan: plan.with_canary(name, Canary(version, order.share)))
    return overview(find_versions(await models.fleet(), name))


@router.delete("/canary", summary="End the canary", status_code=204, responses=_PROBLEMS)
async def delete_canary(models: Managed, name: ModelName) -> None:
    """All requests that name no version go to the default again."""
    await models.change(name, lambda plan: plan.without_canary(name))


def _open(model: FleetCard) -> FleetCard:
    if model.state != "ready":
        raise Conflict(f"{model.name} {model.version} is {model.state}: load it first.")
    return model
