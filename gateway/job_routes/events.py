"""What happens to a job as Server-Sent Events (WHATWG HTML, section 9.2), resumable by Last-Event-ID.

The events are in Redis, so that a reader who comes back, to this gateway or after its restart, misses none. A browser's
EventSource, which cannot send an API key, opens a signed link (`gateway.access.event_links`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from gateway.access.event_links import PARAMETER
from gateway.job_routes.jobs import JOB_PROBLEMS, JobId
from gateway.redis_deadline import redis_deadline
from gateway.state import Gateway, VisibleOwner
from shared.jobs.events import JobEvent, JobEvents, parse_event_id
from shared.problems import BadRequest, Problem, problem_responses
from shared.request_context import public_path

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])

PING_S = 15.0
"""Seconds of silence after which a comment tells both ends, and what is in between, that the connection lives."""

LONGEST_CONNECTION_S = 600.0
"""About so long a connection is kept; then the reader is sent to reconnect, which moves it to a fresh gateway."""

RECONNECT_MS = 2000
"""What the reader is told to wait before it reconnects."""

NO_REFERRER = {"Referrer-Policy": "no-referrer"}
"""The address may hold a signed link, which is nobody else's business."""

_EXAMPLE = (
    "retry: 2000\n\n"
    'id: 1754300000000-0\nevent: status\ndata: {"status":"running","attempt":1}\n\n'
    'id: 1754300001200-0\nevent: progress\ndata: {"step":1,"total":40,"message":"slice 1 of 40"}\n\n'
    'id: 1754300042000-0\nevent: done\ndata: {"status":"succeeded","problem":null}\n\n'
)


@router.get(
    "/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events of the types status, progress, preview, log and, as the last one, done",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        204: {"description": "The end was already read: there is nothing more to come, do not reconnect"},
        **JOB_PROBLEMS,
        **problem_responses(BadRequest),
    },
)
async def follow_job(
    gateway: Gateway,
    owner: VisibleOwner,
    job_id: JobId,
    last_event_id: Annotated[
        str | None, Header(description="Id of the last event that was read; all later ones are sent")
    ] = None,
    last_event_id_parameter: Annotated[
        str | None, Query(alias="last_event_id", description="The same, for readers that cannot set headers")
    ] = None,
    link: Annotated[str | None, Query(alias=PARAMETER, description="Of a signed link, in place of an API key")] = None,
) -> Response:
    """Replays what has happened so far, then follows. A connection ends after about ten minutes: just reconnect.

    A browser's EventSource cannot send an API key: let it open a link of `POST .../events/links`.
    """
    del link  # documented here, read before the route is found
    after = parse_event_id(last_event_id or last_event_id_parameter)
    async with redis_deadline():
        await gateway.jobs.get(job_id, owner=owner)
        over = await gateway.jobs.events.is_over(job_id, after=after)
    if over:
        return Response(status_code=204)
    seconds = LONGEST_CONNECTION_S * random.uniform(0.9, 1.0)  # not all readers at the same moment
    stream = event_stream(gateway.jobs.events, job_id, after=after, longest_s=seconds)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **NO_REFERRER}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


class EventLinkView(BaseModel):
    """A link that opens the events of one job without an API key."""

    href: str = Field(
        description="What `new EventSource(...)` opens; with `&last_event_id=` it goes on after that event",
        examples=["/v1/jobs/019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e/events?link=1754300060.YWRh.lCN0..."],
    )
    expires_at: datetime = Field(description="It opens nothing from then on; a stream that is open goes on")


@router.post(
    "/events/links",
    summary="Make a link to a job's events",
    responses={**JOB_PROBLEMS},
)
async def link_events(gateway: Gateway, owner: VisibleOwner, job_id: JobId, response: Response) -> EventLinkView:
    """For a browser's EventSource, which cannot send an API key: whoever has the link can read this job's events.

    It can be opened, and reopened by an EventSource that lost its connection, for a minute (the operator's setting
    `event_link_s`). Once it is over, opening it answers 401, upon which an EventSource gives up: ask for a new link
    and open it with `last_event_id`.
    """
    async with redis_deadline():
        record = await gateway.jobs.get(job_id, owner=owner)
    link = gateway.event_links.make(record.id, owner=record.owner)
    response.headers.update({"Cache-Control": "no-store", **NO_REFERRER})
    return EventLinkView(href=public_path(link.path), expires_at=datetime.fromtimestamp(link.expires_at, UTC))


async def event_stream(
    events: JobEvents, job_id: str, *, after: str, longest_s: float, ping_s: float = PING_S
) -> AsyncIterator[bytes]:
    """The text of the stream.

    It ends with the job, after `longest_s`, or when Redis does not answer; in the last two cases the reader
    reconnects by itself and goes on where it was.

    Args:
        events: where they are read.
        job_id: whose.
        after: id of the last event that is known.
        longest_s: seconds until the reader is sent to reconnect.
        ping_s: seconds of silence between comments.
    """
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    clock = asyncio.get_running_loop().time
    deadline = clock() + longest_s
    following = events.follow(job_id, after=after, idle_s=min(ping_s, longest_s))
    try:
        async for event in following:
            yield b": ping\n\n" if event is None else encode(event)
            if clock() >= deadline:
                yield b": reconnect\n\n"
                return
    except Problem as problem:
        yield f": {problem.detail}\n\n".encode()


def encode(event: JobEvent) -> bytes:
    """One event; its data is a single line of JSON."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.type.encode(), orjson.dumps(event.data))
