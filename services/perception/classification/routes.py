"""Classification over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from services.perception.classification.classifiers import Classifier, Classifiers
from services.perception.classification.inference import classify, decode_pictures, is_small
from services.perception.classification.schemas import ClassificationAnswer, ClassificationForm, ClassificationOptions
from shared.fleet.classifiers import Scores
from shared.http.files import FILE_HEADERS, file_response
from shared.http.image_bodies import ImageForm, Posted, image_route
from shared.http.negotiation import JSON, NPY, accept_of, choose_media_type
from shared.http.route_parts import POST_PROBLEMS, binary_content
from shared.imaging.arrays import encode_npy
from shared.imaging.pictures import PICTURE_TYPES
from shared.imaging.sizes import stated_pixels
from shared.problems import (
    NotFound,
    field_problem,
    problem_responses,
)
from shared.service import ServiceState, service_state
from shared.telemetry.timing import timed

router = APIRouter(prefix="/v1/perception", tags=["classification"])

_ANSWERS = {"content": binary_content(NPY), "headers": FILE_HEADERS, "description": "The classes"}

CLASSIFICATION = ImageForm(ClassificationOptions, ClassificationForm, PICTURE_TYPES)
_classifiers = Classifiers()


@image_route(
    router,
    "/classifications",
    CLASSIFICATION,
    headers={"accept": "application/json names classes; application/x-npy holds all probabilities"},
    summary="Classify pictures",
    response_model=ClassificationAnswer,
    responses={200: _ANSWERS, **POST_PROBLEMS, **problem_responses(NotFound)},
)
async def classify_signs(request: Request, posted: Posted[ClassificationOptions]) -> Response:
    """Which class each picture shows, with probabilities: of 43 traffic signs, of the 1000 classes of ImageNet
    (`model=imagenet-lite0`), or of a classifier that was uploaded.

    The whole picture is scaled to what the network sees, unless the card of the model says otherwise. The probabilities
    of the released classifier of signs were calibrated on held-out signs; its pictures are to be cut to the sign.
    """
    media_type = choose_media_type(accept_of(request.headers), (JSON, NPY))
    service, options = service_state(request), posted.options
    model = service.models.get(options.model)
    classifier = _classifiers.of(model)
    _require_classes(classifier, options.top)
    with timed("pre"):
        files = [await file.read() for file in posted.files]
    pictures = await _decode(service, files, classifier)
    scores = await classify(pictures, classifier, service.batchers.of(model))
    with timed("post"):
        if media_type == JSON:
            return Response(orjson.dumps(describe(scores, classifier, top=options.top)), media_type=JSON)
        content = encode_npy(scores.probabilities)
        return file_response(content, NPY, name="probabilities", model=classifier.reference)


async def _decode(service: ServiceState, files: Sequence[bytes], classifier: Classifier) -> NDArray[np.float32]:
    limit = service.settings.pixel_limit

    def decode() -> NDArray[np.float32]:
        with timed("pre"):
            return decode_pictures(files, classifier, pixel_limit=limit)

    if is_small(files):
        return decode()
    async with service.decode_pool.admit(cost=sum(map(stated_pixels, files))) as admission:
        return await admission.run(decode)


def _require_classes(classifier: Classifier, top: int) -> None:
    count = len(classifier.labels)
    if top > count and top != ClassificationOptions().top:
        raise field_problem("/body/top", f"{classifier.reference.name} has {count} classes; ask for no more.")


def describe(scores: Scores, classifier: Classifier, *, top: int) -> dict[str, Any]:
    """The answer in words: a `ClassificationAnswer` as JSON, written without the model since it is written often."""
    reference, labels = classifier.reference, classifier.labels
    return {
        "classifications": [
            {
                "index": index,
                "top": [
                    {"class_id": label, "name": labels[label], "probability": row[label], "logit": logits[label]}
                    for label in order
                ],
            }
            for index, (row, logits, order) in enumerate(
                zip(
                    scores.probabilities.tolist(),
                    scores.logits.tolist(),
                    np.argsort(-scores.probabilities, axis=1, kind="stable")[:, :top].tolist(),
                    strict=True,
                )
            )
        ],
        "temperature": classifier.description.temperature,
        "model": {
            "name": reference.name,
            "version": reference.version,
            "weights_sha256": reference.weights_sha256,
        },
        "caveats": list(classifier.caveats),
    }
