"""Streams: intervals that follow the data, one observation after the other."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Response

from services.uncertainty.conformal.application.costs import stoppable
from services.uncertainty.conformal.application.streams import (
    advance,
    check_points,
    create_state,
    describe,
    draw_chart,
    load_options,
    load_state,
    predict_interval,
)
from services.uncertainty.conformal.http.resources import Resources
from services.uncertainty.conformal.http.routes.common import IF_MATCH, READING, RUNNING
from services.uncertainty.conformal.http.routes.state_router import StateResource, begin_state, create_state_router
from services.uncertainty.conformal.schemas.streams import (
    ObservationAnswer,
    Observations,
    ObservationsAnswer,
    Points,
    PointsAnswer,
    StreamAnswer,
    StreamList,
    StreamOptions,
)
from shared.http.json_bodies import JsonRoute
from shared.request_context import current_caller
from shared.service import Service
from shared.stores.versioned_state import Document, VersionedState

RESOURCE = StateResource(
    name="stream",
    store=lambda resources: resources.streams,
    describe=describe,
    draw_chart=draw_chart,
    answer=StreamAnswer,
    listing=StreamList,
    chart="the newest intervals over time",
    reading="Coverage so far, the level in use, the bound of the next label's score; or the intervals as a chart.",
)

StreamId = Annotated[
    str,
    Path(
        description="Id of the stream, from the Location of the answer that began it",
        examples=["019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"],
    ),
]


async def begin_stream(options: StreamOptions, resources: Resources, response: Response) -> Any:
    """Begin intervals that adapt: no exchangeability is needed, the share of misses is steered towards alpha."""
    state = create_state(options).to_json()
    return await begin_state(RESOURCE, resources, response, options=options, state=state)


class PointsRoute(JsonRoute):
    """A route that takes a thousand points as JSON, each of some numbers with all of their digits."""

    most_bytes = 512 * 1024


router = create_state_router(RESOURCE, begin_stream, route_class=PointsRoute)


@router.post("/{stream_id}/predictions", summary="Predict the next interval", responses={**READING, **RUNNING})
async def predict_next(points: Points, resources: Resources, stream_id: StreamId) -> PointsAnswer:
    """Intervals of points whose labels are not known yet, each as if it came next. Nothing is observed by this."""
    stream = await resources.streams.read(stream_id, owner=current_caller())
    options, state = load_options(stream), load_state(stream.state)
    check_points(points.points, options, field="points")
    return PointsAnswer(
        intervals=[predict_interval(state, point, options.score) for point in points.points], steps=stream.sequence
    )


@router.post("/{stream_id}/observations", summary="Observe labels", responses={**READING, **RUNNING})
async def observe(
    body: Observations,
    service: Service,
    resources: Resources,
    response: Response,
    stream_id: StreamId,
    if_match: IF_MATCH = None,
) -> ObservationsAnswer:
    """The interval that was predicted for each label before it was known, and then the stream learns from it.

    Observations are counted once: with `sequence` a repeated request gets the first answer again. `If-Match` with the
    ETag of the stream refuses to observe on top of what somebody else has observed meanwhile (412).
    """
    options = load_options(await resources.streams.read(stream_id, owner=current_caller()))
    check_points(body.observations, options, field="observations")
    observations = [observation.model_dump(exclude_none=True) for observation in body.observations]

    async def transition(stream: VersionedState) -> tuple[Document, list[Document]]:
        return await service.compute_pool.run(stoppable(advance), stream, body.observations, options)

    update = await resources.streams.apply(
        stream_id, observations, transition, owner=current_caller(), sequence=body.sequence, if_match=if_match
    )
    response.headers["ETag"] = update.current.etag
    state = load_state(update.current.state)
    return ObservationsAnswer(
        observations=[ObservationAnswer(sequence=event.sequence, **event.answer) for event in update.events],
        steps=update.current.sequence,
        misses=state.misses,
        coverage=1 - state.error if state.steps else None,
        replayed=update.replayed,
    )
