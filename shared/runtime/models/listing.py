"""Cards over HTTP, with what is known of each version: GET /v1/models of a service."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from shared.problems import NotFound, problem_responses
from shared.runtime.cards import UploadedCard, left_out
from shared.runtime.models.registry import ModelEntry, ModelRegistry
from shared.runtime.states import ListedModel


class ModelList(BaseModel):
    """The models of a service."""

    models: list[ListedModel] = Field(description="Every version of every model, open or not")


def listed(entry: ModelEntry) -> ListedModel:
    """An entry of the registry as it is shown."""
    card = entry.card
    return ListedModel(
        **{name: getattr(card, name) for name in UploadedCard.model_fields},
        origin="released" if entry.released else "uploaded",
        state=entry.state,
        reason=entry.reason,
        aliases=list(entry.aliases),
        is_default=entry.is_default,
        canary_share=entry.canary_share,
        not_measured=left_out(card),
    )


def models_router(registry: ModelRegistry) -> APIRouter:
    """Routes under /v1/models that show the cards of a service's models."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    @router.get("", summary="List models")
    async def list_models() -> ModelList:
        """The card of every version of every model that this service has, open or not."""
        return ModelList(models=[listed(entry) for entry in registry.entries])

    @router.get("/{name}", summary="Read a model card", responses=problem_responses(NotFound))
    async def get_model(name: str) -> ListedModel:
        """The card of a model: paper, training, measured quality beside its baseline, digest, limits."""
        version = registry.get(name).card.version
        return listed(next(one for one in registry.entries if (one.card.name, one.card.version) == (name, version)))

    return router
