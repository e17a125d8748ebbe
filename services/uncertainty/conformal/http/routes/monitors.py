"""Monitors: whether the items of a stream are still exchangeable."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Request, Response

from services.uncertainty.conformal.application.costs import stoppable
from services.uncertainty.conformal.application.monitors import (
    advance,
    check_batch,
    create_state,
    describe,
    draw_chart,
    load_monitor,
    load_options,
    score_items,
)
from services.uncertainty.conformal.application.validation import check_values
from services.uncertainty.conformal.http.body_documentation import describe_request_body
from services.uncertainty.conformal.http.request_parsing import ParsedRequest, parse_request
from services.uncertainty.conformal.http.resources import ConformalState, Resources
from services.uncertainty.conformal.http.routes.common import (
    IF_MATCH,
    POSTING,
    READING,
)
from services.uncertainty.conformal.http.routes.predictions import LABELLED_ARRAYS
from services.uncertainty.conformal.http.routes.state_router import StateResource, begin_state, create_state_router
from services.uncertainty.conformal.schemas.monitors import (
    MonitorAnswer,
    MonitorList,
    MonitorObservations,
    MonitorOptions,
    MonitorStep,
    MonitorStepsAnswer,
)
from services.uncertainty.conformal.storage.serialization import AnyCalibration
from shared.http.uploads import UploadRoute
from shared.problems import Conflict, NotFound, PreconditionFailed, field_problem, problem_responses
from shared.request_context import current_caller
from shared.service import Service, ServiceState
from shared.stores.versioned_state import Document, VersionedState

MonitorId = Annotated[
    str,
    Path(
        description="Id of the monitor, from the Location of the answer that began it",
        examples=["019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"],
    ),
]
OBSERVATION_ARRAYS = {
    "p_values": "Smoothed online p-values, in (0, 1]",
    "scores": "Nonconformity scores",
    **{name: text for name, text in LABELLED_ARRAYS.items() if name not in {"groups", "weights"}},
}


RESOURCE = StateResource(
    name="monitor",
    store=lambda resources: resources.monitors,
    describe=describe,
    draw_chart=draw_chart,
    answer=MonitorAnswer,
    listing=MonitorList,
    chart="the evidence over time",
    reading="Alarms, the evidence so far and what to do; or the evidence as a chart.",
)


async def begin_monitor(options: MonitorOptions, service: Service, resources: Resources, response: Response) -> Any:
    """Begin to watch whether items stay exchangeable, from nothing or after the scores of a calibration."""
    calibration: AnyCalibration | None = None
    if options.calibration is not None:
        try:
            entry = await resources.read_entry(options.calibration)
        except NotFound as problem:
            raise field_problem("/body/calibration", problem.detail) from None
        calibration = await resources.load_calibration(entry, service.blobs)
    state = await service.compute_pool.run(stoppable(create_state), options, calibration)
    return await begin_state(RESOURCE, resources, response, options=options, state=state)


router = create_state_router(RESOURCE, begin_monitor, route_class=UploadRoute)


@router.post(
    "/{monitor_id}/observations",
    summary="Watch items",
    responses={**READING, **POSTING, **problem_responses(PreconditionFailed)},
    openapi_extra=describe_request_body(MonitorObservations, OBSERVATION_ARRAYS, example={"scores": [0.3, 0.8, 0.1]}),
)
async def watch_items(
    request: Request,
    service: Service,
    resources: Resources,
    response: Response,
    monitor_id: MonitorId,
    if_match: IF_MATCH = None,
) -> MonitorStepsAnswer:
    """Bet on p-values, or on those of scores among all before, in their order.

    A monitor of a calibration takes labelled items too, in the form that the calibration took them. Items are counted
    once: `sequence` and `If-Match` work as those of streams.
    """
    monitor = await resources.monitors.read(monitor_id, owner=current_caller())
    parsed = await parse_request(request, OBSERVATION_ARRAYS, limit=resources.settings.values_limit)
    options = parsed.validate_options(MonitorObservations)
    first = options.sequence or monitor.sequence + 1
    values = await _read_values(parsed, monitor, first, service, resources)

    async def transition(current: VersionedState) -> tuple[Document, list[Document]]:
        return await service.compute_pool.run(stoppable(advance), current, values)

    observations = [{"value": value} for value in values]
    update = await resources.monitors.apply(
        monitor_id, observations, transition, owner=current_caller(), sequence=options.sequence, if_match=if_match
    )
    response.headers["ETag"] = update.current.etag
    bets = load_monitor(update.current)
    return MonitorStepsAnswer(
        observations=[MonitorStep(sequence=event.sequence, **event.answer) for event in update.events],
        steps=update.current.sequence,
        alarm=bets.alarm_step > 0,
        alarm_step=bets.alarm_step or None,
        replayed=update.replayed,
    )


async def _read_values(
    parsed: ParsedRequest, monitor: VersionedState, first: int, service: ServiceState, resources: ConformalState
) -> list[float]:
    """Read what is bet on: p-values or scores, as posted or of labelled items.

    Raises:
        Conflict: the calibration whose items are posted has been deleted.
        UnprocessableContent: something else than the monitor observes, or too much at once.
    """
    options = load_options(monitor)
    name = options.observes.array
    if parsed.has(name) or options.calibration is None:
        parsed.refuse_others((name,))
        values = check_values(parsed.require_numbers(name), f"/body/{name}")
        check_batch(len(values), f"/body/{name}")
        if name == "p_values" and ((values <= 0) | (values > 1)).any():
            raise field_problem("/body/p_values", "P-values must lie in (0, 1].")
    else:
        try:
            entry = await resources.read_entry(options.calibration)
        except NotFound:
            raise Conflict("The calibration of this monitor has been deleted. Post scores.") from None
        calibration = await resources.load_calibration(entry, service.blobs)
        values = await service.compute_pool.run(stoppable(score_items), parsed, entry, calibration, options, first)
    listed: list[float] = values.tolist()
    return listed
