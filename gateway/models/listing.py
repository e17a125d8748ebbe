"""The cards of all services' models in one list. A service that is down is named, and the others are listed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, ValidationError

from gateway.state import Gateway
from gateway.upstream.services import ServiceUnreadable, Upstreams
from shared.problems import NotFound, ServiceUnavailable, problem_responses
from shared.runtime.models.version_routing import DEFAULT_ALIAS, by_number, resolve
from shared.runtime.states import ListedModel, ModelState
from shared.settings import DOMAINS, Domain

router = APIRouter(prefix="/v1/models", tags=["models"])

_TIMEOUT_S = 3.0

ModelName = Annotated[str, Path(description="Name of the model", examples=["low-dose-ct"])]
ModelVersion = Annotated[
    str, Path(description="A version, the beginning of one (1 or 1.0), or an alias", examples=["1"])
]


class FleetCard(ListedModel):
    """A model's card, its state, and where it is served."""

    domain: Domain = Field(description="The service that has it", examples=["medical"])


class FleetModels(BaseModel):
    """The models of all services."""

    models: list[FleetCard] = Field(description="Every version of every model of the services that could be asked")
    unavailable: dict[str, str] = Field(
        description="Services that could not be asked, and why; their models are missing above", examples=[{}]
    )

    def versions(self, name: str) -> list[FleetCard]:
        """All versions of a model, oldest first."""
        found = (model for model in self.models if model.name == name)
        return sorted(found, key=lambda model: by_number(model.version))


class VersionSummary(BaseModel):
    """One version of a model in short."""

    version: str = Field(description="Version of the model")
    state: ModelState = Field(description="Whether it can be asked")
    reason: str | None = Field(description="Why it failed; null: it has not")
    origin: str = Field(description="Whether it was released or uploaded")
    weights_sha256: str = Field(description="Digest of its weights")


class CanaryShare(BaseModel):
    """A version that a share of the requests without a version goes to."""

    version: str = Field(description="Version that takes a share", examples=["1.1.0"])
    share: float = Field(ge=0, le=1, examples=[0.1], description="Of the requests that name no version")


class ModelOverview(FleetCard):
    """The card of the default version, and what other versions there are."""

    versions: list[VersionSummary] = Field(description="All versions of the model")
    all_aliases: dict[str, str] = Field(description="Version by alias", examples=[{"default": "1.0.0"}])
    canary: CanaryShare | None = Field(
        description="Version that takes a share of the requests that name none; null: none does"
    )


@router.get("", summary="List models")
async def list_models(gateway: Gateway) -> FleetModels:
    """The card of every model of the fleet: paper, training, measured quality beside its baseline, digest, limits."""
    return await ask_all(gateway.upstreams)


@router.get("/{name}", summary="Read a model card", responses=problem_responses(NotFound, ServiceUnavailable))
async def get_model(gateway: Gateway, name: ModelName) -> ModelOverview:
    """The card of the version that answers requests without one, with all versions, aliases and the canary."""
    return overview(find_versions(await ask_all(gateway.upstreams), name))


@router.get(
    "/{name}/versions/{version}",
    summary="Read the card of a version",
    responses=problem_responses(NotFound, ServiceUnavailable),
)
async def get_version(gateway: Gateway, name: ModelName, version: ModelVersion) -> FleetCard:
    """The card of one version and its state: ready, loading, unloaded or failed, with the reason."""
    return find_version(await ask_all(gateway.upstreams), name, version)


def find_versions(fleet: FleetModels, name: str) -> list[FleetCard]:
    """All versions of a model, oldest first.

    Raises:
        NotFound: there is no such model.
        ServiceUnavailable: none that answers has it, and not all services answer.
    """
    found = fleet.versions(name)
    if found:
        return found
    if fleet.unavailable:
        silent = ", ".join(sorted(fleet.unavailable))
        raise ServiceUnavailable(f"No service that answers has this model. Not answering at present: {silent}.")
    known = ", ".join(sorted({model.name for model in fleet.models})) or "none"
    raise NotFound(f"There is no such model. Models here: {known}.")


def find_version(fleet: FleetModels, name: str, version: str) -> FleetCard:
    """One version, by number, alias, or the beginning of its number: then the newest that is served, else the newest.

    Raises:
        NotFound: there is no such model or version.
        ServiceUnavailable: as for `find_versions`.
    """
    versions = find_versions(fleet, name)
    aliases = {alias: model.version for model in versions for alias in model.aliases}
    by_version = {model.version: model for model in versions}
    served = [model.version for model in versions if model.state == "ready"]
    wanted = resolve(version, served, aliases) or resolve(version, by_version, aliases)
    if wanted in by_version:
        return by_version[wanted]
    known = ", ".join(model.version for model in versions)
    raise NotFound(f"There is no {name} {version}. Versions: {known}.")


def overview(versions: Sequence[FleetCard]) -> ModelOverview:
    """What is shown of a model that has these versions, oldest first."""
    aliases = {alias: model.version for model in versions for alias in model.aliases}
    named = next((model for model in versions if model.version == aliases.get(DEFAULT_ALIAS)), versions[-1])
    shown = next((model for model in versions if model.is_default), named)
    canary = next((model for model in versions if model.canary_share is not None), None)
    return ModelOverview(
        **{field: getattr(shown, field) for field in FleetCard.model_fields},
        versions=[
            VersionSummary(
                version=model.version,
                state=model.state,
                reason=model.reason,
                origin=model.origin,
                weights_sha256=model.weights.sha256,
            )
            for model in versions
        ],
        all_aliases=aliases,
        canary=CanaryShare(version=canary.version, share=canary.canary_share or 0.0) if canary else None,
    )


async def ask_all(upstreams: Upstreams) -> FleetModels:
    """Ask all services side by side."""
    answers = await asyncio.gather(*(_ask(upstreams, domain) for domain in DOMAINS))
    models: list[FleetCard] = []
    unavailable: dict[str, str] = {}
    for domain, answer in zip(DOMAINS, answers, strict=True):
        if isinstance(answer, str):
            unavailable[domain] = answer
        else:
            models += answer
    return FleetModels(models=models, unavailable=unavailable)


async def _ask(upstreams: Upstreams, domain: Domain) -> list[FleetCard] | str:
    try:
        answer: Any = await upstreams.get_json(domain, "/v1/models", timeout_s=_TIMEOUT_S)
        return [FleetCard.model_validate({**card, "domain": domain}) for card in answer["models"]]
    except ServiceUnreadable as failure:
        return str(failure)
    except (ValidationError, LookupError, TypeError):
        return "its answer is not a list of model cards"
