"""Predictions: sets of classes and intervals, of posted values or of pictures that the calibrated model is shown."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Request, Response

from services.uncertainty.conformal.fitting import ARRAYS, Items
from services.uncertainty.conformal.fitting_regression import REGRESSION_ARRAYS
from services.uncertainty.conformal.fleet_models import BATCH, classified
from services.uncertainty.conformal.kept import Entry, Kept
from services.uncertainty.conformal.posted import Posted, read_posted, schema_of
from services.uncertainty.conformal.predicting import (
    answer_intervals,
    answer_sets,
    predicted_intervals,
    predicted_sets,
    read_asked,
    read_asked_points,
    require_classes,
)
from services.uncertainty.conformal.regression import RegressionCalibration
from services.uncertainty.conformal.resources import Conformal, Resources
from services.uncertainty.conformal.routes.common import BINARY, POSTING, PREFIX, READING, TAGS, CalibrationId
from services.uncertainty.conformal.schemas import ModelIdentity, PredictionAnswer, PredictionOptions
from shared.http.files import file_response
from shared.http.negotiation import JSON, NPY, accept_of, choose_media_type
from shared.http.uploads import UploadRoute, read_upload
from shared.imaging.arrays import encode_npy
from shared.problems import BadGateway, Conflict, GatewayTimeout, NotAcceptable, field_problem, problem_responses
from shared.runtime.cards import ModelReference
from shared.service import Service
from shared.telemetry.timing import timed

router = APIRouter(prefix=f"{PREFIX}/calibrations", tags=TAGS, route_class=UploadRoute)

PICTURES = "file"
ASKED_ARRAYS = {name: text for name, text in {**ARRAYS, **REGRESSION_ARRAYS}.items() if not name.startswith("training")}


@router.post(
    "/{calibration_id}/predictions",
    summary="Predict sets or intervals",
    response_model=PredictionAnswer,
    responses={
        200: {"content": {NPY: BINARY}, "description": "bool (N, K), or float64 (N, 2) with infinite ends, in NPY"},
        **READING,
        **POSTING,
        **problem_responses(NotAcceptable, BadGateway, GatewayTimeout),
    },
    openapi_extra=schema_of(
        PredictionOptions,
        {
            **ASKED_ARRAYS,
            PICTURES: "Pictures (PNG, JPEG, WebP) for the calibrated model of the fleet; repeat the field",
        },
    ),
)
async def predict(
    request: Request,
    service: Service,
    resources: Resources,
    calibration_id: CalibrationId,
    accept: Annotated[
        str | None, Header(description="application/json; application/x-npy: the sets or intervals of the first level")
    ] = None,
) -> Any:
    """Which classes each item may have, or between which ends its value lies, at any level.

    Post the kind of values that was calibrated. For a calibration of a classifier of the fleet, pictures will do: they
    are shown to it, and if its weights are no longer those that were calibrated the answer is 409. Draws of
    randomised scores follow of the seed and the number of an item, so a repeated request gets the same answer.
    """
    del accept  # documented here; several lines of it are one list
    media_type = choose_media_type(accept_of(request.headers), (JSON, NPY))
    entry = await resources.entry(calibration_id)
    with timed("pre"):
        posted = await read_posted(request, ASKED_ARRAYS, limit=resources.settings.values_limit)
        options = posted.parsed(PredictionOptions)
        require_model(entry, options.model_sha256)
        kept = await resources.kept(entry, service.blobs)
        shown = await show_pictures(posted, entry, resources) if PICTURES in posted.files else None
    if shown is None and _is_small(posted):
        return _predict(entry, kept, posted, options, media_type, shown)
    return await service.compute_pool.run(_predict, entry, kept, posted, options, media_type, shown)


def require_model(entry: Entry, stated: str | None) -> None:
    """Refuse values of another model than the calibrated one, where both are stated.

    Raises:
        Conflict: says both digests and what to do.
    """
    model = entry.answer.model
    calibrated = model.weights_sha256 if model else None
    if stated is not None and calibrated != stated:
        raise replaced(entry, calibrated, stated)


def replaced(entry: Entry, calibrated: str | None, present: str | None) -> Conflict:
    """The problem of a model that is not the calibrated one."""
    name = entry.answer.model.name if entry.answer.model else None
    return Conflict(
        f"The calibration was made of answers of {name or 'a model'} with the weights {calibrated or '(not stated)'}, "
        f"and these are answers of the weights {present}. Its guarantee does not hold for them. Calibrate the present "
        f"model by POST {PREFIX}/calibrations, or serve the calibrated version again."
    )


async def show_pictures(posted: Posted, entry: Entry, resources: Conformal) -> Items:
    """What the calibrated model says of posted pictures.

    Raises:
        Conflict: the calibration is of no classifier of the fleet, or the classifier was replaced.
        UnprocessableContent: too many pictures, or one that cannot be read.
    """
    model = entry.answer.model
    if model is None or model.served_by is None or model.name is None:
        raise Conflict(
            "This calibration was made of posted values, so there is no model to show pictures to. Post the values."
        )
    files = posted.files[PICTURES]
    if len(files) > BATCH:
        raise field_problem(f"/body/{PICTURES}", f"There are {len(files)} pictures; at most {BATCH} are accepted.")
    posted.refuse_others((PICTURES,))
    pictures = [await read_upload(file, pointer=f"/body/{PICTURES}/{index}") for index, file in enumerate(files)]
    answered = await classified(resources.fleet, pictures, model=model.name)
    require_identity(entry, answered.model)
    require_classes(entry, answered.probabilities.shape[1])
    return Items(name="probabilities", inputs=answered.probabilities)


def require_identity(entry: Entry, present: ModelIdentity) -> None:
    """Refuse a replaced model.

    Raises:
        Conflict: says both digests and what to do.
    """
    calibrated = entry.answer.model.weights_sha256 if entry.answer.model else None
    if calibrated != present.weights_sha256:
        raise replaced(entry, calibrated, present.weights_sha256)


def _is_small(posted: Posted) -> bool:
    """Whether a thread would cost more than the work."""
    return not posted.files and sum(len(values) for values in posted.lists.values()) <= 8


def _predict(
    entry: Entry, kept: Kept, posted: Posted, options: PredictionOptions, media_type: str, shown: Items | None
) -> Response | PredictionAnswer:
    alphas = options.alpha or entry.options.alpha
    if isinstance(kept, RegressionCalibration):
        with timed("pre"):
            points = read_asked_points(posted, entry)
        with timed("infer"):
            found = predicted_intervals(kept, points, alphas)
        if media_type == NPY:
            return _file(entry, np.stack([found[0].lower, found[0].upper], axis=1), "intervals")
        return answer_intervals(entry, found, points, options, alphas)
    with timed("pre"):
        items = shown or read_asked(posted, entry)
    with timed("infer"):
        sets = predicted_sets(kept, items, options, alphas)
    if media_type == NPY:
        return _file(entry, sets.sets[0], "sets")
    return answer_sets(entry, sets, options)


def _file(entry: Entry, array: Any, name: str) -> Response:
    model = entry.answer.model
    reference = None
    if model and model.weights_sha256:
        reference = ModelReference(
            name=model.name or "unnamed", version=model.version or "", weights_sha256=model.weights_sha256
        )
    return file_response(encode_npy(array), NPY, name=name, model=reference)
