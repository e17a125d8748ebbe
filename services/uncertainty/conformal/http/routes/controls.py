"""Risk control, Venn-Abers prediction, predictive distributions: answered at once, nothing is stored."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from services.uncertainty.conformal.application.costs import stoppable
from services.uncertainty.conformal.application.predictive_distributions import (
    DISTRIBUTION_ARRAYS,
    predict_distributions,
)
from services.uncertainty.conformal.application.risk_control import RISK_ARRAYS, control_risk
from services.uncertainty.conformal.application.venn_abers import VENN_ABERS_ARRAYS, predict_venn_abers
from services.uncertainty.conformal.http.body_documentation import describe_request_body
from services.uncertainty.conformal.http.request_parsing import parse_request
from services.uncertainty.conformal.http.resources import Resources
from services.uncertainty.conformal.http.routes.common import POSTING, PREFIX, TAGS
from services.uncertainty.conformal.schemas.controls import (
    DistributionAnswer,
    DistributionOptions,
    RiskAnswer,
    RiskOptions,
    VennAbersAnswer,
    VennAbersOptions,
)
from shared.http.uploads import UploadRoute
from shared.service import Service

router = APIRouter(prefix=PREFIX, tags=TAGS, route_class=UploadRoute)


@router.post(
    "/risk-controls",
    summary="Control a risk",
    response_model=RiskAnswer,
    responses=POSTING,
    openapi_extra=describe_request_body(
        RiskOptions,
        RISK_ARRAYS,
        example={
            "alpha": 0.5,
            "lambdas": [0.0, 0.5, 1.0],
            "losses": [[1.0, 0.4, 0.0], [0.8, 0.2, 0.0], [0.9, 0.3, 0.0], [1.0, 0.1, 0.0]],
        },
    ),
)
async def control(request: Request, service: Service, resources: Resources) -> Any:
    """Which lambda keeps a loss other than missing the label: the share of a lesion's pixels missed, false discoveries.

    Post losses over a grid, or masks (probabilities and truth), of which a set at lambda holds what has a probability
    of at least 1 - lambda. Use the lambda on new items; it is not to be chosen on the same items by anything else.
    """
    parsed = await parse_request(request, RISK_ARRAYS, limit=resources.settings.values_limit)
    return await service.compute_pool.run(stoppable(control_risk), parsed, parsed.validate_options(RiskOptions))


@router.post(
    "/venn-abers",
    summary="Calibrate probabilities",
    response_model=VennAbersAnswer,
    responses=POSTING,
    openapi_extra=describe_request_body(
        VennAbersOptions,
        VENN_ABERS_ARRAYS,
        needed=["labels"],
        example={"scores": [0.1, 0.4, 0.6, 0.9], "labels": [0, 0, 1, 1], "test_scores": [0.2, 0.7]},
    ),
)
async def calibrate_probabilities(request: Request, service: Service, resources: Resources) -> Any:
    """Venn-Abers prediction: scores become pairs of probabilities, of which one is calibrated without any assumption
    but exchangeability. Post calibration items with labels, and the test items beside them.
    """
    parsed = await parse_request(request, VENN_ABERS_ARRAYS, limit=resources.settings.values_limit)
    return await service.compute_pool.run(
        stoppable(predict_venn_abers), parsed, parsed.validate_options(VennAbersOptions)
    )


@router.post(
    "/predictive-distributions",
    summary="Predict distributions",
    response_model=DistributionAnswer,
    responses=POSTING,
    openapi_extra=describe_request_body(
        DistributionOptions,
        DISTRIBUTION_ARRAYS,
        needed=["predictions", "targets", "test_predictions"],
        example={
            "predictions": [1.0, 2.0, 3.0, 4.0],
            "targets": [1.1, 1.8, 3.2, 4.1],
            "test_predictions": [2.5],
            "values": [3.0],
        },
    ),
)
async def predict_distribution(request: Request, service: Service, resources: Resources) -> Any:
    """A whole calibrated distribution for each point of a regression: quantiles, P(Y <= t), and the CRPS."""
    parsed = await parse_request(request, DISTRIBUTION_ARRAYS, limit=resources.settings.values_limit)
    return await service.compute_pool.run(
        stoppable(predict_distributions), parsed, parsed.validate_options(DistributionOptions)
    )
