"""Evaluations: a calibration against labelled items that it has not seen."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Request, Response

from services.uncertainty.conformal.checks import check_count, check_finite
from services.uncertainty.conformal.evaluating import Evaluated, evaluate_intervals, evaluate_sets
from services.uncertainty.conformal.kept import Entry, Kept
from services.uncertainty.conformal.plots import Plot, to_png, to_svg
from services.uncertainty.conformal.posted import Posted, read_posted, schema_of
from services.uncertainty.conformal.predicting import read_asked, read_asked_points
from services.uncertainty.conformal.regression import RegressionCalibration
from services.uncertainty.conformal.resources import Resources
from services.uncertainty.conformal.routes.common import BINARY, POSTING, PREFIX, READING, TAGS, CalibrationId
from services.uncertainty.conformal.routes.predictions import ASKED_ARRAYS, require_model
from services.uncertainty.conformal.schemas_evaluations import EvaluationAnswer, EvaluationOptions
from shared.http.files import file_response
from shared.http.negotiation import JSON, PNG, SVG, accept_of, choose_media_type
from shared.http.uploads import UploadRoute
from shared.problems import NotAcceptable, problem_responses
from shared.service import Service
from shared.telemetry.timing import timed

router = APIRouter(prefix=f"{PREFIX}/calibrations", tags=TAGS, route_class=UploadRoute)

SLAB_FEATURES = "slab_features"
EVALUATED_ARRAYS = {**ASKED_ARRAYS, SLAB_FEATURES: "Features (N, F) in which the worst-covered slab is looked for"}


@router.post(
    "/{calibration_id}/evaluations",
    summary="Evaluate a calibration",
    response_model=EvaluationAnswer,
    responses={
        200: {"content": {PNG: BINARY, SVG: {"schema": {"type": "string"}}}, "description": "Metrics, or a histogram"},
        **READING,
        **POSTING,
        **problem_responses(NotAcceptable),
    },
    openapi_extra=schema_of(EvaluationOptions, EVALUATED_ARRAYS),
)
async def evaluate(
    request: Request,
    service: Service,
    resources: Resources,
    calibration_id: CalibrationId,
    accept: Annotated[
        str | None, Header(description="application/json: metrics; image/png, image/svg+xml: the histogram `picture`")
    ] = None,
) -> Any:
    """How often sets or intervals hold the truth, how large they are, and where coverage is uneven.

    Every share has its exact interval, and the number of covered items is compared with the Beta-Binomial law that it
    has under exchangeability: a small p-value says that these items are not like those of the calibration.
    """
    del accept  # documented here; several lines of it are one list
    media_type = choose_media_type(accept_of(request.headers), (JSON, PNG, SVG))
    entry = await resources.entry(calibration_id)
    with timed("pre"):
        posted = await read_posted(request, EVALUATED_ARRAYS, limit=resources.settings.values_limit)
        options = posted.parsed(EvaluationOptions)
        require_model(entry, options.model_sha256)
        kept = await resources.kept(entry, service.blobs)
    evaluated = await service.compute_pool.run(_evaluate, entry, kept, posted, options)
    if media_type == JSON:
        return evaluated.answer
    return picture_response(evaluated.plot(options.picture), media_type, name=options.picture)


def picture_response(plot: Plot, media_type: str, *, name: str) -> Response:
    """A plot as the file that was asked for."""
    with timed("post"):
        return file_response(to_png(plot) if media_type == PNG else to_svg(plot), media_type, name=name)


def _evaluate(entry: Entry, kept: Kept, posted: Posted, options: EvaluationOptions) -> Evaluated:
    with timed("pre"):
        features = posted.numbers(SLAB_FEATURES, dimensions=2)
        posted = posted.without(SLAB_FEATURES)
    if isinstance(kept, RegressionCalibration):
        points = read_asked_points(posted, entry, labelled=True)
        with timed("infer"):
            return evaluate_intervals(entry, kept, points, options)
    items = read_asked(posted, entry, labelled=True)
    if features is not None:
        check_count(features, f"/body/{SLAB_FEATURES}", len(items.inputs))
        check_finite(features, f"/body/{SLAB_FEATURES}")
        features = features.astype(np.float64)
    with timed("infer"):
        return evaluate_sets(entry, kept, items, options, features)
