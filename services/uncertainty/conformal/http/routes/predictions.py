"""Predictions: sets of classes and intervals, of posted values or of images that the calibrated model classifies."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Request, Response

from services.uncertainty.conformal.application.class_labels import CLASS_NAMES
from services.uncertainty.conformal.application.classification_items import ARRAYS, Items
from services.uncertainty.conformal.application.costs import is_quick, stoppable
from services.uncertainty.conformal.application.prediction import (
    draw_for_items,
    predict_intervals,
    predict_sets,
    read_prediction_items,
    read_prediction_points,
    refuse_options_of_sets,
)
from services.uncertainty.conformal.application.prediction_answers import answer_intervals, answer_sets
from services.uncertainty.conformal.application.regression_fit import REGRESSION_ARRAYS
from services.uncertainty.conformal.http.body_documentation import describe_request_body
from services.uncertainty.conformal.http.resources import Resources
from services.uncertainty.conformal.http.routes.calibrated_requests import (
    IMAGES,
    CalibratedRequest,
    classify_images,
    read_calibrated_request,
)
from services.uncertainty.conformal.http.routes.common import POSTING, PREFIX, READING, TAGS, CalibrationId
from services.uncertainty.conformal.methods.regression.split_regression import RegressionCalibration
from services.uncertainty.conformal.schemas.predictions import PredictionAnswer, PredictionOptions
from services.uncertainty.conformal.storage.calibration_entries import CalibrationEntry
from shared.http.files import file_response
from shared.http.negotiation import JSON, NPY, accept_of, choose_media_type
from shared.http.route_parts import BINARY
from shared.http.uploads import UploadRoute
from shared.imaging.arrays import encode_npy
from shared.problems import BadGateway, GatewayTimeout, problem_responses
from shared.runtime.cards import ModelReference
from shared.service import Service
from shared.telemetry.timing import timed

router = APIRouter(prefix=f"{PREFIX}/calibrations", tags=TAGS, route_class=UploadRoute)

_SMALL_ITEMS = 8
_SMALL_CLASSES = 1000
TRUTHS = ("labels", "targets")
"""What is known of items, not asked."""
PREDICTION_ARRAYS = {
    name: text
    for name, text in {**ARRAYS, **REGRESSION_ARRAYS}.items()
    if name not in {*TRUTHS, CLASS_NAMES} and not name.startswith("training")
}
LABELLED_ARRAYS = {**PREDICTION_ARRAYS, **{name: {**ARRAYS, **REGRESSION_ARRAYS}[name] for name in TRUTHS}}


@router.post(
    "/{calibration_id}/predictions",
    summary="Predict sets or intervals",
    response_model=PredictionAnswer,
    responses={
        200: {"content": {NPY: BINARY}, "description": "bool (N, K), or float64 (N, 2) with infinite ends, in NPY"},
        **READING,
        **POSTING,
        **problem_responses(BadGateway, GatewayTimeout),
    },
    openapi_extra=describe_request_body(
        PredictionOptions,
        {
            **PREDICTION_ARRAYS,
            IMAGES: "Images (PNG, JPEG, WebP) for the calibrated model of the fleet; repeat the field",
        },
        repeated=[IMAGES],
        example={"logits": [[1.4, 0.2, -0.3]], "alpha": [0.25], "p_values": True},
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

    Post the kind of values that was calibrated. For a calibration of a classifier of the fleet, images will do: they
    are shown to it, and if its weights are no longer those that were calibrated the answer is 409. The draw
    of a randomised score is the item's own: it follows from the calibration and the item, so that a repeated request
    gets the same answer, whether items are posted one by one or together.
    """
    del accept  # documented here; several lines of it are one list
    media_type = choose_media_type(accept_of(request.headers), (JSON, NPY))
    asked = await read_calibrated_request(
        request, service, resources, calibration_id, arrays=PREDICTION_ARRAYS, options=PredictionOptions
    )
    items = None
    if asked.images is not None:
        asked.parsed.refuse_others((IMAGES,))
        items = await classify_images(asked.images, asked.entry, resources)
    if items is None and _is_small(asked):
        return _predict(asked, media_type, items)
    return await service.compute_pool.run(stoppable(_predict), asked, media_type, items)


def _is_small(asked: CalibratedRequest[PredictionOptions]) -> bool:
    """Whether a request is so small that handing it to a thread would take longer than computing it."""
    lists = asked.parsed.lists.values()
    few = sum(len(values) for values in lists) <= _SMALL_ITEMS and all(_is_narrow(one) for one in lists)
    levels = len(asked.options.alpha or asked.entry.options.alpha)
    return not asked.parsed.files and few and is_quick(asked.calibration, levels)


def _is_narrow(values: list[Any]) -> bool:
    return all(not isinstance(row, list) or len(row) <= _SMALL_CLASSES for row in values)


def _predict(asked: CalibratedRequest[PredictionOptions], media_type: str, classified_items: Items | None) -> Response:
    entry, calibration, options = asked.entry, asked.calibration, asked.options
    alphas = options.alpha or entry.options.alpha
    if isinstance(calibration, RegressionCalibration):
        refuse_options_of_sets(options, ("p_values", "force_top1", "smoothed", "seed"))
        with timed("pre"):
            points = read_prediction_points(asked.parsed, entry)
        with timed("infer"):
            intervals = predict_intervals(calibration, points, alphas)
        if media_type == NPY:
            return _file_response(entry, np.stack([intervals[0].lower, intervals[0].upper], axis=1), "intervals")
        return Response(answer_intervals(entry, calibration, intervals, points, options, alphas), media_type=JSON)
    with timed("pre"):
        items = classified_items or read_prediction_items(asked.parsed, entry)
    with timed("infer"):
        draws = draw_for_items(calibration, items, options, version=entry.answer.version)
        sets = predict_sets(calibration, items, options, alphas, draws)
    if media_type == NPY:
        return _file_response(entry, sets.sets[0], "sets")
    return Response(answer_sets(entry, sets, options), media_type=JSON)


def _file_response(entry: CalibrationEntry, array: Any, name: str) -> Response:
    model = entry.answer.model
    reference = None
    if model and model.weights_sha256:
        reference = ModelReference(
            name=model.name or "unnamed", version=model.version or "", weights_sha256=model.weights_sha256
        )
    return file_response(encode_npy(array), NPY, name=name, model=reference)
