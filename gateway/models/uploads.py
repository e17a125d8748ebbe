"""Bringing a model: a draft of its card, then the file with the card."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Form, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.models.listing import FleetCard
from gateway.models.management import PROBLEMS, Managed
from gateway.state import Gateway
from shared.deployments.desired_state import Deployment
from shared.http.errors import field_errors, findings
from shared.http.route_parts import File
from shared.http.uploads import UploadRoute, read_upload
from shared.problems import (
    ContentTooLarge,
    UnprocessableContent,
    UnsupportedMediaType,
    field_problem,
    problem_responses,
)
from shared.runtime.cards import LONGEST_NAME, MODEL_NAME, MODEL_VERSION, UploadedCard
from shared.runtime.inspection.sandbox import require_warm_up
from shared.runtime.inspection.verification import Refused, draft_card, verify
from shared.settings import Domain

_LARGEST_CARD = 1024 * 1024
_ONNX = "application/onnx"

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=UploadRoute)


class UploadForm(BaseModel):
    """Multipart form of POST /v1/models."""

    model_config = ConfigDict(extra="forbid")

    card: File = Field(description="The model's card, JSON; `POST /v1/models/cards` drafts it")
    file: File = Field(description="The ONNX file, weights inside")
    domain: Domain = Field(default="perception", description="The service that is to have it")
    load: bool = Field(default=True, description="Whether it is to be opened now")


class DraftForm(BaseModel):
    """Multipart form of POST /v1/models/cards."""

    model_config = ConfigDict(extra="forbid")

    file: File = Field(description="The ONNX file")
    name: str = Field(pattern=MODEL_NAME, max_length=LONGEST_NAME, description="What to call the model")
    version: str = Field(pattern=MODEL_VERSION, description="Such as 1.0.0")
    task: str = Field(default="", description="What it does")
    licence: str = Field(default="", description="Of the weights")


class DraftCard(BaseModel):
    """A card made of what a file says, to be completed and posted with the file."""

    name: str = Field(description="As posted")
    version: str = Field(description="As posted")
    task: str = Field(description="Needed")
    licence: str = Field(description="Needed")
    inputs: list[dict[str, Any]] = Field(
        description="Add units, ranges and what they mean; name axis 0 `batch` to stack"
    )
    outputs: list[dict[str, Any]] = Field(description="The same of what it gives")
    weights: dict[str, Any] = Field(description="Name, digest and size of the file")
    limits: list[str] = Field(description="What a user should know before relying on it")


@router.post(
    "",
    summary="Serve a model of your own",
    status_code=201,
    response_model=FleetCard,
    responses=problem_responses(ContentTooLarge, UnsupportedMediaType, *PROBLEMS)
    | {200: {"description": "This file with this card was here already", "model": FleetCard}},
)
async def upload_model(
    form: Annotated[UploadForm, Form(media_type="multipart/form-data")],
    response: Response,
    gateway: Gateway,
    models: Managed,
) -> FleetCard:
    """Verify a file against its card, store it, and have it opened by every replica of the service.

    The file is read by Facet's own reader first (digest, opset, operators, inputs, outputs, no data in other files),
    then opened and run on zeros in a process of its own; only then a service opens it. Nothing in it is executed but
    its graph. The same file with the same card again changes nothing.
    """
    content = await read_upload(form.file, limit=gateway.settings.model_limit_bytes)
    card = read_uploaded_card(await read_upload(form.card, limit=_LARGEST_CARD, pointer="/body/card"))
    try:
        require_warm_up(card)
        await asyncio.to_thread(verify, content, card, most_bytes=gateway.settings.model_limit_bytes)
    except Refused as refused:
        raise refused.problem() from None
    blob = await asyncio.to_thread(gateway.blobs.put, content, _ONNX)
    described, new = await models.upload(form.domain, Deployment(card, blob.digest, loaded=form.load))
    response.headers["Location"] = f"/v1/models/{card.name}/versions/{card.version}"
    if not new:
        response.status_code = 200
    return described


@router.post(
    "/cards",
    summary="Draft a card",
    responses=problem_responses(ContentTooLarge, UnsupportedMediaType, *PROBLEMS),
)
async def draft(form: Annotated[DraftForm, Form(media_type="multipart/form-data")], gateway: Gateway) -> DraftCard:
    """A card with the inputs, outputs and digest of a file. Complete it, then post both to /v1/models."""
    content = await read_upload(form.file, limit=gateway.settings.model_limit_bytes)
    try:
        card = await asyncio.to_thread(
            draft_card, content, name=form.name, version=form.version, task=form.task, licence=form.licence
        )
    except Refused as refused:
        raise refused.problem() from None
    return DraftCard.model_validate(card)


def read_uploaded_card(content: bytes) -> UploadedCard:
    """The card of an upload.

    Raises:
        UnprocessableContent: it is no JSON, lacks a field or has one that cards do not have; pointers name them.
    """
    try:
        return UploadedCard.model_validate_json(content)
    except ValidationError as error:
        faults = field_errors(findings(error, "body", "card"), UploadedCard, depth=2)
    if faults[0].pointer == "/body/card":
        raise field_problem("/body/card", f"This is no card: {faults[0].detail}.")
    raise UnprocessableContent("The card lacks something or holds something that no card has.", errors=faults)
