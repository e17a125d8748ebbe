"""Risk control, Venn-Abers prediction, predictive distributions: answered at once, nothing is kept."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from services.uncertainty.conformal.controlling import (
    DISTRIBUTION_ARRAYS,
    RISK_ARRAYS,
    VENN_ABERS_ARRAYS,
    control_risk,
    predict_distributions,
    predict_venn_abers,
)
from services.uncertainty.conformal.posted import read_posted, schema_of
from services.uncertainty.conformal.resources import Resources
from services.uncertainty.conformal.routes.common import POSTING, PREFIX, TAGS
from services.uncertainty.conformal.schemas_controls import (
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
    openapi_extra=schema_of(RiskOptions, RISK_ARRAYS),
)
async def control(request: Request, service: Service, resources: Resources) -> Any:
    """Which lambda keeps a loss other than missing the label: the share of a lesion's pixels missed, false discoveries.

    Post losses over a grid, or masks (probabilities and truth), of which a set at lambda holds what has a probability
    of at least 1 - lambda. Use the lambda on new items; it is not to be chosen on the same items by anything else.
    """
    posted = await read_posted(request, RISK_ARRAYS, limit=resources.settings.values_limit)
    return await service.compute_pool.run(control_risk, posted, posted.parsed(RiskOptions))


@router.post(
    "/venn-abers",
    summary="Calibrate probabilities",
    response_model=VennAbersAnswer,
    responses=POSTING,
    openapi_extra=schema_of(VennAbersOptions, VENN_ABERS_ARRAYS, needed=["labels"]),
)
async def calibrate_probabilities(request: Request, service: Service, resources: Resources) -> Any:
    """Venn-Abers prediction: scores become pairs of probabilities, of which one is calibrated without any assumption
    but exchangeability. Post calibration items with labels, and the test items beside them.
    """
    posted = await read_posted(request, VENN_ABERS_ARRAYS, limit=resources.settings.values_limit)
    return await service.compute_pool.run(predict_venn_abers, posted, posted.parsed(VennAbersOptions))


@router.post(
    "/predictive-distributions",
    summary="Predict distributions",
    response_model=DistributionAnswer,
    responses=POSTING,
    openapi_extra=schema_of(
        DistributionOptions, DISTRIBUTION_ARRAYS, needed=["predictions", "targets", "test_predictions"]
    ),
)
async def predict_distribution(request: Request, service: Service, resources: Resources) -> Any:
    """A whole calibrated distribution for each point of a regression: quantiles, P(Y <= t), and the CRPS."""
    posted = await read_posted(request, DISTRIBUTION_ARRAYS, limit=resources.settings.values_limit)
    return await service.compute_pool.run(predict_distributions, posted, posted.parsed(DistributionOptions))
