"""The cards of all services' models in one list. A service that is down is named, and the others are listed."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, ValidationError

from gateway.state import Gateway
from gateway.upstreams import UpstreamFailure, Upstreams
from shared.problems import NotFound, ServiceUnavailable, problem_responses
from shared.runtime.cards import ModelCard
from shared.settings import DOMAINS, Domain

router = APIRouter(prefix="/v1/models", tags=["models"])

_TIMEOUT_S = 3.0


class FleetCard(ModelCard):
    """A model's card, and where it is served."""

    domain: str = Field(description="The service that has it", examples=["medical"])


class FleetModels(BaseModel):
    """The models of all services."""

    models: list[FleetCard]
    unavailable: dict[str, str] = Field(
        description="Services that could not be asked, and why; their models are missing above", examples=[{}]
    )


@router.get("", summary="List models")
async def list_models(gateway: Gateway) -> FleetModels:
    """The card of every model of the fleet: paper, training, measured quality beside its baseline, digest, limits."""
    return await ask_all(gateway.upstreams)


@router.get("/{name}", summary="Read a model card", responses=problem_responses(NotFound, ServiceUnavailable))
async def get_model(
    gateway: Gateway, name: Annotated[str, Path(description="Name of the model", examples=["low-dose-ct"])]
) -> FleetCard:
    """The newest version's card of one model."""
    fleet = await ask_all(gateway.upstreams)
    found = [model for model in fleet.models if model.name == name]
    if found:
        return max(found, key=lambda model: tuple(int(part) for part in model.version.split(".")))
    if fleet.unavailable:
        silent = ", ".join(sorted(fleet.unavailable))
        raise ServiceUnavailable(f"No service that answers has this model. Not answering at present: {silent}.")
    known = ", ".join(sorted({model.name for model in fleet.models})) or "none"
    raise NotFound(f"There is no such model. Models here: {known}.")


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
    except UpstreamFailure as failure:
        return str(failure)
    except (ValidationError, LookupError, TypeError):
        return "its answer is not a list of model cards"
