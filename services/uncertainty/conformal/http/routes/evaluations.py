"""Evaluations: a calibration against labelled items that it has not seen."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Request, Response

from services.uncertainty.conformal.application.calibration_evaluation import (
    Evaluation,
    evaluate_intervals,
    evaluate_sets,
)
from services.uncertainty.conformal.application.costs import stoppable
from services.uncertainty.conformal.application.prediction import read_prediction_items, read_prediction_points
from services.uncertainty.conformal.application.validation import check_count, check_finite
from services.uncertainty.conformal.http.chart_response import chart_response
from services.uncertainty.conformal.http.request_parsing import ParsedRequest, describe_request_body, parse_request
from services.uncertainty.conformal.http.resources import Resources
from services.uncertainty.conformal.http.routes.common import POSTING, PREFIX, READING, TAGS, CalibrationId
from services.uncertainty.conformal.http.routes.predictions import LABELLED_ARRAYS, require_model
from services.uncertainty.conformal.methods.regression import RegressionCalibration
from services.uncertainty.conformal.schemas.evaluations import EvaluationAnswer, EvaluationOptions
from services.uncertainty.conformal.storage.calibration_entries import CalibrationEntry
from services.uncertainty.conformal.storage.serialization import AnyCalibration
from shared.http.deprecation import DEPRECATION, deprecation_headers
from shared.http.negotiation import JSON, PNG, SVG, accept_of, choose_media_type
from shared.http.route_parts import BINARY
from shared.http.uploads import UploadRoute
from shared.problems import field_problem
from shared.service import Service
from shared.telemetry.timing import timed

router = APIRouter(prefix=f"{PREFIX}/calibrations", tags=TAGS, route_class=UploadRoute)

SLAB_FEATURES = "slab_features"
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
    },
    openapi_extra=describe_request_body(EvaluationOptions, EVALUATION_ARRAYS),
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
    calibration scores tie near the threshold coverage may well be higher, and only too few covered items count.
    """
    del accept  # documented here; several lines of it are one list
    media_type = choose_media_type(accept_of(request.headers), (JSON, PNG, SVG))
    entry = await resources.read_entry(calibration_id)
    with timed("pre"):
        parsed = await parse_request(request, EVALUATION_ARRAYS, limit=resources.settings.values_limit)
        options = parsed.validate_options(EvaluationOptions)
        require_model(entry, options.model_sha256)
        calibration = await resources.load_calibration(entry, service.blobs)
    evaluation = await service.compute_pool.run(stoppable(_evaluate), entry, calibration, parsed, options)
    if media_type == JSON:
        response.headers.update(deprecation_headers(options))
        return evaluation.answer
    chart = chart_response(evaluation.plot(options.chart), media_type, name=options.chart)
    chart.headers.update(deprecation_headers(options))
    return chart


def _evaluate(
    entry: CalibrationEntry, calibration: AnyCalibration, parsed: ParsedRequest, options: EvaluationOptions
) -> Evaluation:
    with timed("pre"):
        features = parsed.read_numbers(SLAB_FEATURES, dimensions=2)
        parsed = parsed.without(SLAB_FEATURES)
    if isinstance(calibration, RegressionCalibration):
        if features is not None:
            raise field_problem(
                f"/body/{SLAB_FEATURES}", "Slabs are looked for where sets are evaluated."
            )
        points = read_prediction_points(parsed, entry, labelled=True)
        with timed("infer"):
            return evaluate_intervals(entry, calibration, points, options)
    items = read_prediction_items(parsed, entry, labelled=True)
    if features is not None:
        check_count(features, f"/body/{SLAB_FEATURES}", len(items.inputs))
        check_finite(features, f"/body/{SLAB_FEATURES}")
        features = features.astype(np.float64)
    with timed("infer"):
        return evaluate_sets(entry, calibration, items, options, features)
