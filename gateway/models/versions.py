"""Versions of uploaded models: load, unload, delete."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.models.listing import FleetCard, ModelName, ModelVersion
from gateway.models.management import PROBLEMS, Managed, Management
from shared.problems import problem_responses
from shared.runtime.inspection.verification import Refused

router = APIRouter(prefix="/v1/models/{name}/versions/{version}", tags=["models"])

_PROBLEMS = problem_responses(*PROBLEMS)


@router.post("/load", summary="Load a version", responses=_PROBLEMS)
async def load(models: Managed, name: ModelName, version: ModelVersion) -> FleetCard:
    """Have every replica open it, again where it failed; the answer comes when they have. A released one is loaded."""
    found = await models.named(name, version)
    if found.origin == "uploaded":
        await load_version(models, found)
    return await models.version(name, found.version)


@router.post("/unload", summary="Unload a version", responses=_PROBLEMS)
async def unload(models: Managed, name: ModelName, version: ModelVersion) -> FleetCard:
    """Give its memory back. Requests under way are answered; the version stays, and can be loaded again."""
    found = await models.uploaded(name, version, to="unloaded")
    await models.change(name, lambda plan: plan.with_loaded(name, found.version, loaded=False))
    return await models.version(name, found.version)


@router.delete("", summary="Delete a version", status_code=204, responses=_PROBLEMS)
async def delete_version(models: Managed, name: ModelName, version: ModelVersion) -> None:
    """Unload and forget it. One that an alias or a canary names stays until they name another."""
    found = await models.uploaded(name, version, to="deleted")
    await models.change(name, lambda plan: plan.without(name, found.version))


async def load_version(models: Management, found: FleetCard) -> None:
    """Load an uploaded version and wait for it.

    Raises:
        UnprocessableContent: a service refused it.
    """
    key = found.name, found.version
    if found.state == "failed":
        report = await models.change(found.name, lambda plan: plan.with_another_try(*key), key=key)
    else:
        report = await models.change(found.name, lambda plan: plan.with_loaded(*key, loaded=True), key=key)
    if report is not None and report.state == "failed":
        raise Refused(*report.errors).problem()
