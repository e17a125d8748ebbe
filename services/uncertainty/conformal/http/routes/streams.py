"""Streams: intervals that follow the data, one observation after the other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response

from services.uncertainty.conformal.application.streams import (
    check_points,
    describe,
    drawn,
    first_state,
    interval_of,
    observed,
    options_of,
    state_of,
)
from services.uncertainty.conformal.http.resources import Resources, caller
from services.uncertainty.conformal.http.routes.common import (
    BINARY,
    CREATED,
    IF_MATCH,
    LISTED,
    PREFIX,
    READING,
    RUNNING,
    TAGS,
)
from services.uncertainty.conformal.http.routes.evaluations import picture_response
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
from services.uncertainty.conformal.storage.owned_records import PAGE_LIMIT
from services.uncertainty.conformal.storage.versioned_state import Document, Running
from shared.http.negotiation import JSON, PNG, SVG, accept_of, choose_media_type
from shared.http.paging import link_next
from shared.jobs.identifiers import new_job_id
from shared.problems import NotAcceptable, problem_responses
from shared.service import Service

router = APIRouter(prefix=f"{PREFIX}/streams", tags=TAGS)

StreamId = Annotated[
    str,
    Path(
        description="Id of the stream, from the Location of the answer that began it",
        examples=["019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"],
    ),
]


@router.post("", summary="Begin a stream", status_code=201, responses={201: CREATED, **RUNNING})
async def begin_stream(options: StreamOptions, resources: Resources, response: Response) -> StreamAnswer:
    """Begin intervals that adapt: no exchangeability is needed, the share of misses is steered towards alpha."""
    definition = {"options": options.model_dump(mode="json"), "created_at": datetime.now(UTC).isoformat()}
    state = first_state(options).to_json()
    running = await resources.streams.start(new_job_id(), definition, state, owner=caller())
    response.headers["Location"] = f"{PREFIX}/streams/{running.identifier}"
    response.headers["ETag"] = running.etag
    return describe(running)


@router.get("", summary="List streams", responses=LISTED)
async def list_streams(
    response: Response,
    resources: Resources,
    cursor: Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT, description="Most streams on the page")] = 20,
) -> StreamList:
    """Your streams, newest first."""
    running, next_cursor = await resources.streams.running_page(owner=caller(), cursor=cursor, limit=limit)
    response.headers["Cache-Control"] = "private, no-cache"
    link_next(response, f"{PREFIX}/streams", {"limit": limit, "cursor": next_cursor})
    return StreamList(streams=[describe(one) for one in running], next_cursor=next_cursor)


@router.get(
    "/{stream_id}",
    summary="Read a stream",
    response_model=StreamAnswer,
    responses={
        200: {"content": {PNG: BINARY, SVG: {"schema": {"type": "string"}}}, "description": "As it is, or a picture"},
        **READING,
        **problem_responses(NotAcceptable),
    },
)
async def read_stream(
    request: Request,
    response: Response,
    resources: Resources,
    stream_id: StreamId,
    accept: Annotated[
        str | None, Header(description="application/json; image/svg+xml, image/png: the newest intervals over time")
    ] = None,
) -> Any:
    """Coverage so far, the level in use, the bound of the next label's score; or the intervals as a picture."""
    del accept  # documented here; several lines of it are one list
    media_type = choose_media_type(accept_of(request.headers), (JSON, SVG, PNG))
    running = await resources.streams.read(stream_id, owner=caller())
    if media_type != JSON:
        entries = await resources.streams.entries(stream_id, owner=caller())
        return picture_response(drawn(running, entries), media_type, name="stream")
    response.headers["ETag"] = running.etag
    response.headers["Cache-Control"] = "private, no-cache"
    return describe(running)


@router.delete("/{stream_id}", summary="Delete a stream", status_code=204, responses=READING)
async def delete_stream(resources: Resources, stream_id: StreamId) -> None:
    """Forget a stream with everything that it has seen."""
    await resources.streams.delete(stream_id, owner=caller())


@router.post("/{stream_id}/predictions", summary="Predict the next interval", responses={**READING, **RUNNING})
async def predict_next(points: Points, resources: Resources, stream_id: StreamId) -> PointsAnswer:
    """Intervals of points whose labels are not known yet, each as if it came next. Nothing is observed by this."""
    running = await resources.streams.read(stream_id, owner=caller())
    options, state = options_of(running), state_of(running.state)
    check_points(points.points, options, field="points")
    return PointsAnswer(
        intervals=[interval_of(state, point, options.score) for point in points.points], steps=running.sequence
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
    options = options_of(await resources.streams.read(stream_id, owner=caller()))
    check_points(body.observations, options, field="observations")
    posted = [one.model_dump(exclude_none=True) for one in body.observations]

    async def apply(running: Running) -> tuple[Document, list[Document]]:
        return await service.compute_pool.run(observed, running, body.observations, options)

    found = await resources.streams.observe(
        stream_id, posted, apply, owner=caller(), sequence=body.sequence, if_match=if_match
    )
    response.headers["ETag"] = found.running.etag
    state = state_of(found.running.state)
    return ObservationsAnswer(
        observations=[ObservationAnswer(sequence=one["sequence"], **one["answer"]) for one in found.entries],
        steps=found.running.sequence,
        misses=state.misses,
        coverage=1 - state.error if state.steps else None,
        replayed=found.replayed,
    )
