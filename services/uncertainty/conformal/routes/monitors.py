"""Monitors: is the data still what it was?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Path, Query, Request, Response

from services.uncertainty.conformal.calibration import Calibration
from services.uncertainty.conformal.checks import check_values
from services.uncertainty.conformal.kept import Entry, Kept
from services.uncertainty.conformal.monitoring import describe, drawn, first_state, monitor_of, options_of, watched
from services.uncertainty.conformal.posted import Posted, read_posted, schema_of
from services.uncertainty.conformal.predicting import draws_of, read_asked, read_asked_points
from services.uncertainty.conformal.regression import RegressionCalibration
from services.uncertainty.conformal.resources import Conformal, Resources, caller
from services.uncertainty.conformal.routes.common import (
    BINARY,
    CREATED,
    IF_MATCH,
    LISTED,
    POSTING,
    PREFIX,
    READING,
    RUNNING,
    TAGS,
)
from services.uncertainty.conformal.routes.evaluations import picture_response
from services.uncertainty.conformal.routes.predictions import ASKED_ARRAYS
from services.uncertainty.conformal.running import Document, Running
from services.uncertainty.conformal.schemas import PredictionOptions
from services.uncertainty.conformal.schemas_monitors import (
    BATCH,
    MonitorAnswer,
    MonitorInput,
    MonitorList,
    MonitorObservations,
    MonitorOptions,
    MonitorStep,
    MonitorStepsAnswer,
)
from services.uncertainty.conformal.store import PAGE_LIMIT
from shared.http.negotiation import JSON, PNG, SVG, accept_of, choose_media_type
from shared.http.paging import link_next
from shared.http.uploads import UploadRoute
from shared.jobs.identifiers import new_job_id
from shared.problems import Conflict, NotAcceptable, NotFound, PreconditionFailed, field_problem, problem_responses
from shared.service import Service, ServiceState

router = APIRouter(prefix=f"{PREFIX}/monitors", tags=TAGS, route_class=UploadRoute)

MonitorId = Annotated[
    str,
    Path(
        description="Id of the monitor, from the Location of the answer that began it",
        examples=["019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"],
    ),
]
OBSERVED_ARRAYS = {
    "p_values": "Smoothed online p-values, in (0, 1]",
    "scores": "Nonconformity scores",
    **{name: text for name, text in ASKED_ARRAYS.items() if name not in {"groups", "weights"}},
}


@router.post("", summary="Begin a monitor", status_code=201, responses={201: CREATED, **RUNNING})
async def begin_monitor(
    options: MonitorOptions, service: Service, resources: Resources, response: Response
) -> MonitorAnswer:
    """Begin to watch whether items stay exchangeable, from nothing or after the scores of a calibration."""
    kept: Kept | None = None
    if options.calibration is not None:
        try:
            kept = await resources.kept(await resources.entry(options.calibration), service.blobs)
        except NotFound as problem:
            raise field_problem("/body/calibration", problem.detail) from None
    state = first_state(options, kept)
    definition = {"options": options.model_dump(mode="json"), "created_at": datetime.now(UTC).isoformat()}
    running = await resources.monitors.start(new_job_id(), definition, state, owner=caller())
    response.headers["Location"] = f"{PREFIX}/monitors/{running.identifier}"
    response.headers["ETag"] = running.etag
    return describe(running)


@router.get("", summary="List monitors", responses=LISTED)
async def list_monitors(
    response: Response,
    resources: Resources,
    cursor: Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT, description="Most monitors on the page")] = 20,
) -> MonitorList:
    """Your monitors, newest first."""
    running, next_cursor = await resources.monitors.running_page(owner=caller(), cursor=cursor, limit=limit)
    response.headers["Cache-Control"] = "private, no-cache"
    link_next(response, f"{PREFIX}/monitors", {"limit": limit, "cursor": next_cursor})
    return MonitorList(monitors=[describe(one) for one in running], next_cursor=next_cursor)


@router.get(
    "/{monitor_id}",
    summary="Read a monitor",
    response_model=MonitorAnswer,
    responses={
        200: {"content": {PNG: BINARY, SVG: {"schema": {"type": "string"}}}, "description": "As it is, or a picture"},
        **READING,
        **problem_responses(NotAcceptable),
    },
)
async def read_monitor(
    request: Request,
    response: Response,
    resources: Resources,
    monitor_id: MonitorId,
    accept: Annotated[
        str | None, Header(description="application/json; image/svg+xml, image/png: the evidence over time")
    ] = None,
) -> Any:
    """Alarms, the evidence so far and what to do; or the evidence as a picture."""
    del accept  # documented here; several lines of it are one list
    media_type = choose_media_type(accept_of(request.headers), (JSON, SVG, PNG))
    running = await resources.monitors.read(monitor_id, owner=caller())
    if media_type != JSON:
        entries = await resources.monitors.entries(monitor_id, owner=caller())
        return picture_response(drawn(running, entries), media_type, name="monitor")
    response.headers["ETag"] = running.etag
    response.headers["Cache-Control"] = "private, no-cache"
    return describe(running)


@router.delete("/{monitor_id}", summary="Delete a monitor", status_code=204, responses=READING)
async def delete_monitor(resources: Resources, monitor_id: MonitorId) -> None:
    """Forget a monitor with everything that it has seen."""
    await resources.monitors.delete(monitor_id, owner=caller())


@router.post(
    "/{monitor_id}/observations",
    summary="Watch items",
    responses={**READING, **POSTING, **problem_responses(PreconditionFailed)},
    openapi_extra=schema_of(MonitorObservations, OBSERVED_ARRAYS),
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
    running = await resources.monitors.read(monitor_id, owner=caller())
    posted = await read_posted(request, OBSERVED_ARRAYS, limit=resources.settings.values_limit)
    options = posted.parsed(MonitorObservations)
    first = options.sequence or running.sequence + 1
    values = await _values(posted, running, first, service, resources)

    async def apply(now: Running) -> tuple[Document, list[Document]]:
        return await service.compute_pool.run(watched, now, values)

    given = [{"value": value} for value in values]
    found = await resources.monitors.observe(
        monitor_id, given, apply, owner=caller(), sequence=options.sequence, if_match=if_match
    )
    response.headers["ETag"] = found.running.etag
    monitor = monitor_of(found.running)
    return MonitorStepsAnswer(
        observations=[MonitorStep(sequence=one["sequence"], **one["answer"]) for one in found.entries],
        steps=found.running.sequence,
        alarm=monitor.alarm_step > 0,
        alarm_step=monitor.alarm_step or None,
        replayed=found.replayed,
    )


async def _values(
    posted: Posted, running: Running, first: int, service: ServiceState, resources: Conformal
) -> list[float]:
    """What is bet on: p-values or scores, as posted or of labelled items.

    Raises:
        Conflict: the calibration whose items are posted has been deleted.
        UnprocessableContent: something else than the monitor observes, or too much at once.
    """
    options = options_of(running)
    name = "p_values" if options.observes is MonitorInput.P_VALUES else "scores"
    if posted.has(name) or options.calibration is None:
        posted.refuse_others((name,))
        values = check_values(posted.needed(name), f"/body/{name}")
        if name == "p_values" and ((values <= 0) | (values > 1)).any():
            raise field_problem("/body/p_values", "P-values must lie in (0, 1].")
    else:
        try:
            entry = await resources.entry(options.calibration)
        except NotFound:
            raise Conflict("The calibration of this monitor has been deleted. Post scores.") from None
        kept = await resources.kept(entry, service.blobs)
        values = await service.compute_pool.run(_scores, posted, entry, kept, options, first)
    if len(values) > BATCH:
        raise field_problem(f"/body/{name}", f"There are {len(values)} items; at most {BATCH} are accepted at once.")
    return [float(value) for value in values]


def _scores(posted: Posted, entry: Entry, kept: Kept, options: MonitorOptions, first: int) -> Any:
    """Scores of labelled items; draws of randomised ones belong to the number of the item."""
    if isinstance(kept, RegressionCalibration):
        points = read_asked_points(posted, entry, labelled=True)
        return points.band.scores(points.targets)
    if not isinstance(kept, Calibration):
        raise TypeError("a calibration with one cell is expected")
    items = read_asked(posted, entry, labelled=True)
    labels = items.labels if items.labels is not None else np.empty(0, np.int64)
    asked = PredictionOptions(seed=options.seed, first_item=first)
    scores = kept.score.of_labels(items.inputs, labels, draws_of(kept, len(labels), asked))
    if not np.isfinite(scores).all():
        raise field_problem(f"/body/{items.name}", "The score of an item is infinite.")
    return scores
