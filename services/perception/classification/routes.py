"""Classification over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import numpy as np
from fastapi import APIRouter, Form, Header, Response

from services.perception.classification.inference import SIDE, Scores, classify, read_picture
from services.perception.classification.schemas import (
    Classification,
    ClassificationAnswer,
    ClassificationForm,
    Guess,
)
from services.perception.classification.signs import SIGNS
from shared.http.files import FILE_HEADERS, file_response
from shared.http.negotiation import JSON, NPY, choose_media_type
from shared.http.uploads import UploadRoute, read_upload
from shared.imaging.arrays import encode_npy
from shared.imaging.colour import Pictures
from shared.imaging.sizes import stated_pixels
from shared.problems import (
    BadRequest,
    ContentTooLarge,
    NotAcceptable,
    NotFound,
    ServiceUnavailable,
    UnprocessableContent,
    UnsupportedMediaType,
    field_problem,
    problem_responses,
)
from shared.runtime.cards import reference_of
from shared.runtime.sessions import OnnxModel
from shared.service import Service, ServiceState
from shared.telemetry.timing import timed

router = APIRouter(prefix="/v1/perception", tags=["classification"], route_class=UploadRoute)

CAVEAT = (
    "The classifier knows 43 German signs, cut out of photographs. Of anything else it names the sign that it finds "
    "most alike, however sure it sounds."
)

_PROBLEMS = problem_responses(
    BadRequest,
    NotFound,
    NotAcceptable,
    ContentTooLarge,
    UnsupportedMediaType,
    UnprocessableContent,
    ServiceUnavailable,
)
_ANSWERS = {
    "content": {NPY: {"schema": {"type": "string", "format": "binary"}}},
    "headers": FILE_HEADERS,
    "description": "The classes",
}


@router.post(
    "/classifications",
    summary="Classify traffic signs",
    response_model=ClassificationAnswer,
    responses={200: _ANSWERS, **_PROBLEMS},
)
async def classify_signs(
    form: Annotated[ClassificationForm, Form(media_type="multipart/form-data")],
    service: Service,
    accept: Annotated[
        str | None, Header(description="application/json names classes; application/x-npy holds all probabilities")
    ] = None,
) -> Response | ClassificationAnswer:
    """Which of 43 signs each picture shows, with probabilities that were calibrated on held-out signs.

    Post pictures cut to the sign, of any size; the whole picture is scaled to 32x32.
    """
    media_type = choose_media_type(accept, (JSON, NPY))
    model = _classifier(service, form.model)
    with timed("pre"):
        files = [await read_upload(file, pointer=f"/body/file/{index}") for index, file in enumerate(form.file)]

    async with service.decode_pool.admit(cost=sum(map(stated_pixels, files))) as admission:
        pictures = await admission.run(_decode, files, service.settings.pixel_limit)
    scores = await classify(pictures, model.card, service.batchers.of(model))
    with timed("post"):
        if media_type == JSON:
            return describe(scores, model, top=form.top)
        content = encode_npy(scores.probabilities)
        return file_response(content, NPY, name="probabilities", model=reference_of(model.card))


def _decode(files: Sequence[bytes], limit: int) -> list[Pictures]:
    with timed("pre"):
        return [
            read_picture(data, pixel_limit=limit, pointer=f"/body/file/{index}") for index, data in enumerate(files)
        ]


def _classifier(service: ServiceState, name: str) -> OnnxModel:
    model = service.models.get(name)
    sides = [(tensor.name, tensor.dtype, tensor.shape[1:]) for tensor in (*model.card.inputs, *model.card.outputs)]
    if sides != [("pictures", "float32", [3, SIDE, SIDE]), ("logits", "float32", [len(SIGNS)])]:
        raise field_problem("/body/model", f"{name} is no classifier of these signs. Its card: /v1/models/{name}")
    return model


def describe(scores: Scores, model: OnnxModel, *, top: int) -> ClassificationAnswer:
    """The answer in words."""
    return ClassificationAnswer(
        classifications=[
            Classification(
                index=index,
                top=[
                    Guess(class_id=label, name=SIGNS[label], probability=float(row[label]), logit=float(logits[label]))
                    for label in np.argsort(-row, kind="stable")[:top].tolist()
                ],
            )
            for index, (row, logits) in enumerate(zip(scores.probabilities, scores.logits, strict=True))
        ],
        temperature=float(cast("float", model.card.parameters.get("temperature", 1.0))),
        model=reference_of(model.card),
        caveats=[CAVEAT],
    )
