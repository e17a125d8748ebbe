"""What happens to a job, as a Redis Stream: ids only grow, so that a reader resumes where it left off."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import orjson
from redis.asyncio import Redis

from shared.jobs.connection import LONGEST_BLOCK_S, unavailable_without_redis
from shared.problems import BadRequest

EventType = Literal["status", "progress", "preview", "log", "done"]

EVENT_TYPES: tuple[EventType, ...] = ("status", "progress", "preview", "log", "done")
"""In the order of a typical life; `done` is the last event of every job."""

BEGINNING = "0-0"
"""Comes before every event."""

_EVENT_ID = re.compile(r"[0-9]{1,18}-[0-9]{1,18}")
_BATCH = 200


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One event."""

    id: str
    """`<milliseconds>-<number>`, growing within a job."""
    type: EventType
    data: dict[str, Any]


def parse_event_id(text: str | None) -> str:
    """Read Last-Event-ID; nothing said means from the beginning.

    Raises:
        BadRequest: it is no id that an event of Facet ever had.
    """
    if not text:
        return BEGINNING
    if not _EVENT_ID.fullmatch(text):
        raise BadRequest("Last-Event-ID must be the id of an event, such as 1754300000000-0.")
    return text


def _order(event_id: str) -> tuple[int, int]:
    milliseconds, _, number = event_id.partition("-")
    return int(milliseconds), int(number)


def _has_ended(newest: JobEvent, after: str) -> bool:
    return newest.type == "done" and _order(after) >= _order(newest.id)


class JobEvents:
    """Reads event streams.

    Args:
        redis: a client of `connection.api_client`.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def follow(
        self, job_id: str, *, after: str = BEGINNING, idle_s: float = 15.0
    ) -> AsyncIterator[JobEvent | None]:
        """Replay the events after `after`, then follow; ends with `done`, or at once if that was already read.

        Whether there is such a job is for the caller to check before.

        Yields:
            Events in order; None after `idle_s` seconds of silence, which is the time for a sign of life.
        """
        newest = await self._newest(job_id)
        if newest is None or _has_ended(newest, after):
            return
        after = min(after, newest.id, key=_order)  # an id from the future would hide what comes
        waited_s = 0.0
        while True:
            block_s = min(idle_s - waited_s, LONGEST_BLOCK_S)
            events = await self._read(job_id, after, block_s)
            for event in events:
                yield event
                if event.type == "done":
                    return
                after = event.id
            waited_s = 0.0 if events else waited_s + block_s
            if waited_s >= idle_s:
                yield None
                waited_s = 0.0

    async def last_id(self, job_id: str) -> str:
        """Id of the newest event, or the beginning."""
        newest = await self._newest(job_id)
        return newest.id if newest else BEGINNING

    async def is_over(self, job_id: str, *, after: str) -> bool:
        """Whether there is nothing more to come after this id, now or later."""
        newest = await self._newest(job_id)
        return newest is None or _has_ended(newest, after)

    async def _newest(self, job_id: str) -> JobEvent | None:
        with unavailable_without_redis():
            entries = await self._redis.xrevrange(_key(job_id), count=1)
        return _event(entries[0]) if entries else None

    async def _read(self, job_id: str, after: str, block_s: float) -> list[JobEvent]:
        milliseconds = max(1, round(block_s * 1000))  # 0 would block for ever
        with unavailable_without_redis():
            streams = await self._redis.xread({_key(job_id): after}, count=_BATCH, block=milliseconds)
        return [_event(entry) for _, entries in cast("list[Any]", streams) for entry in entries]


def _key(job_id: str) -> str:
    return f"facet:job:{job_id}:events"


def _event(entry: Any) -> JobEvent:
    event_id, fields = entry
    return JobEvent(event_id, fields["type"], orjson.loads(fields["data"]))
