"""What a version of a model can be, and how it is shown beside its card."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.runtime.cards import UploadedCard

ModelState = Literal["ready", "loading", "unloaded", "failed"]


class ListedModel(UploadedCard):
    """A model's card and its state."""

    origin: Literal["released", "uploaded"] = Field(
        default="released", description="Released ones come with the code or from the operator's folder"
    )
    state: ModelState = Field(default="ready", description="Whether it can be asked")
    reason: str | None = Field(default=None, description="Why it failed")
    aliases: list[str] = Field(default=[], description="That name this version")
    is_default: bool = Field(default=False, description="Whether it answers requests that name no version")
    canary_share: float | None = Field(default=None, description="Of those requests, the share that it takes")
    not_measured: list[str] = Field(
        default=[], description="What a released model's card states, and this one does not"
    )
