"""Evaluations: a calibration against labelled items that it has not seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Request, Response

from services.uncertainty.conformal.application.calibration_evaluation import (
    Evaluation,
    evaluate_intervals,
    evaluate_sets,
)
from services.uncertainty.conformal.application.classification_items import Items
from services.uncertainty.conformal.application.costs import stoppable
from services.uncertainty.conformal.application.labelled_images import label_images, read_images
from services.uncertainty.conformal.application.prediction import read_prediction_items, read_prediction_points
from services.uncertainty.conformal.application.validation import check_count, check_finite
from services.uncertainty.conformal.http.body_documentation import describe_request_body
from services.uncertainty.conformal.http.chart_response import chart_response
from services.uncertainty.conformal.http.resources import Resources
from services.uncertainty.conformal.http.routes.calibrated_requests import (
    IMAGES,
    CalibratedRequest,
    classify_images,
    read_calibrated_request,
)
from services.uncertainty.conformal.http.routes.common import POSTING, PREFIX, READING, TAGS, CalibrationId
from services.uncertainty.conformal.http.routes.predictions import LABELLED_ARRAYS
from services.uncertainty.conformal.methods.regression.split_regression import RegressionCalibration
from services.uncertainty.conformal.schemas.evaluations import EvaluationAnswer, EvaluationOptions
from shared.http.deprecation import DEPRECATION, deprecation_headers
from shared.http.negotiation import JSON, PNG, SVG, accept_of, choose_media_type
from shared.http.route_parts import BINARY
from shared.http.uploads import UploadRoute
from shared.problems import BadGateway, GatewayTimeout, field_problem, problem_responses
from shared.service import Service
from shared.telemetry.timing import timed

router = APIRouter(prefix=f"{PREFIX}/calibrations", tags=TAGS, route_class=UploadRoute)

SLAB_FEATURES = "slab_features"
IMAGES_LIMIT = 256
"""Most images that are shown to the model for one evaluation; for more of them, post its probabilities."""
EVALUATION_ARRAYS = {
    **LABELLED_ARRAYS,
    SLAB_FEATURES: "Features (N, F) in which the worst-covered slab is looked for",
}


@router.post(
    "/{calibration_id}/evaluations",
    summary="Evaluate a calibration",
    response_model=EvaluationAnswer,
    responses={
        200: {
            "content": {PNG: BINARY, SVG: {"schema": {"type": "string"}}},
            "description": "Metrics, or a histogram",
            "headers": DEPRECATION,
        },
        **READING,
        **POSTING,
        **problem_responses(BadGateway, GatewayTimeout),
    },
    openapi_extra=describe_request_body(
        EvaluationOptions,
        {
            **EVALUATION_ARRAYS,
            IMAGES: "Labelled images (PNG, JPEG, WebP) for the calibrated model of the fleet: the field repeated, or a "
            "ZIP with a folder for each label",
        },
        repeated=[IMAGES],
        example={"logits": [[1.4, 0.2, -0.3], [0.1, 1.1, 0.4]], "labels": [0, 1]},
    ),
)
async def evaluate(
    request: Request,
    service: Service,
    resources: Resources,
    response: Response,
    calibration_id: CalibrationId,
    accept: Annotated[
        str | None, Header(description="application/json: metrics; image/png, image/svg+xml: the histogram `image`")
    ] = None,
) -> Any:
    """How often sets or intervals hold the truth, how large they are, and where coverage is uneven.

    Every share has its exact interval, and the number of covered items is compared with the Beta-Binomial law that it
    has under exchangeability: a small p-value says that these items are not like those of the calibration. Where
    calibration scores tie near the threshold coverage may well be higher, and only too few covered items count. For a
    calibration of a classifier of the fleet labelled images will do, as they were calibrated on.
    """
    del accept  # documented here; several lines of it are one list
    media_type = choose_media_type(accept_of(request.headers), (JSON, PNG, SVG))
    asked = await read_calibrated_request(
        request, service, resources, calibration_id, arrays=EVALUATION_ARRAYS, options=EvaluationOptions
    )
    options, items = asked.options, None
    if asked.images is not None:
        asked.parsed.refuse_others((IMAGES, "labels", SLAB_FEATURES))
        images, folders = await service.compute_pool.run(read_images, asked.images)
        items = await classify_images(images, asked.entry, resources, most=IMAGES_LIMIT)
        posted = asked.parsed.read_texts("labels", count=len(images))
        items = replace(items, labels=label_images(asked.entry, folders, posted))
    evaluation = await service.compute_pool.run(stoppable(_evaluate), asked, items)
    if media_type == JSON:
        response.headers.update(deprecation_headers(options))
        return evaluation.answer
    chart = chart_response(evaluation.plot(options.chart), media_type, name=options.chart)
    chart.headers.update(deprecation_headers(options))
    return chart


def _evaluate(asked: CalibratedRequest[EvaluationOptions], classified_items: Items | None) -> Evaluation:
    entry, calibration, options = asked.entry, asked.calibration, asked.options
    with timed("pre"):
        features = asked.parsed.read_numbers(SLAB_FEATURES, dimensions=2)
        parsed = asked.parsed.without(SLAB_FEATURES)
    if isinstance(calibration, RegressionCalibration):
        if features is not None:
            raise field_problem(f"/body/{SLAB_FEATURES}", "Slabs are looked for where sets are evaluated.")
        points = read_prediction_points(parsed, entry, labelled=True)
        with timed("infer"):
            return evaluate_intervals(entry, calibration, points, options)
    items = classified_items or read_prediction_items(parsed, entry, labelled=True)
    if features is not None:
        check_count(features, f"/body/{SLAB_FEATURES}", len(items.inputs))
        check_finite(features, f"/body/{SLAB_FEATURES}")
        features = features.astype(np.float64)
    with timed("infer"):
        return evaluate_sets(entry, calibration, items, options, features)
