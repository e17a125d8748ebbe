"""The append-only log of who ran what on which digest: a Redis stream; the process log has it too.

It holds no content, no file names and no addresses' queries. Redis trims the oldest entries; ship the JSON log lines
where a longer memory is wanted.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

import orjson
from redis.asyncio import Redis

from shared.jobs.connection import unavailable_without_redis
from shared.problems import ServiceUnavailable, UnprocessableContent

AUDIT_NOTE_HEADER: Final = "Facet-Audit-Note"
"""In which a service tells the gateway the note of an entry, percent-encoded; callers never see it."""

_STREAM = "facet:audit"
_ENTRY = "entry"
_LONGEST_WRITE_S = 2.0
_PAUSE_S = 0.02
"""Between two writes to Redis, so that under load one takes many entries."""
_MOST_AT_ONCE = 512
_ID = re.compile(r"\d{1,20}-\d{1,20}")

logger = logging.getLogger("facet.audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request that ran or wrote something, or was refused."""

    request_id: str
    caller: str
    key: str
    """Id of the API key; empty where none was good."""
    method: str
    path: str
    status: int
    digest: str
    """`sha256:` and hexadecimal digits of the request body; empty where it was not read to its end."""
    bytes: int
    """Of the request body, as far as it was read."""
    job: str = ""
    """Path of the job that was created."""
    note: str = ""
    """What the service wants to be on record, such as who allowed a test of a model that is not the fleet's."""

    def fields(self) -> dict[str, str | int]:
        """All of it by name; `dataclasses.asdict` would copy each value first."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry with its place in the log."""

    id: str
    time: datetime
    entry: Entry


class AuditLog:
    """Writes and reads the log.

    Args:
        redis: a client of `shared.jobs.connection.api_client`.
        kept: about so many entries stay.
    """

    def __init__(self, redis: Redis, *, kept: int) -> None:
        self._redis = redis
        self._kept = kept
        self._waiting: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        self._closed = False

    def write(self, entry: Entry) -> dict[str, str | int]:
        """Append an entry, in the background: neither the caller nor the time of its request waits for it.

        Returns:
            Its fields, for the line of the request in the process log, which has it alone where Redis does not answer,
            or where the log is closed.
        """
        fields = entry.fields()
        if self._closed:
            return fields
        self._waiting.append(orjson.dumps(fields))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_waiting())
        return fields

    async def close(self) -> None:
        """Write what is waiting, and nothing that comes later, from requests that are cut off as a process ends."""
        self._closed = True
        await self.drain()

    async def drain(self) -> None:
        """Wait until everything is written that was given to `write`."""
        while self._writing is not None:
            await asyncio.wait([self._writing])

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                entries, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
                await self._append(entries)
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._writing = None

    async def _append(self, entries: list[bytes]) -> None:
        try:
            async with asyncio.timeout(_LONGEST_WRITE_S):
                with unavailable_without_redis():
                    pipeline = self._redis.pipeline(transaction=False)
                    for entry in entries:
                        pipeline.xadd(_STREAM, {_ENTRY: entry}, maxlen=self._kept, approximate=True)
                    await pipeline.execute()
        except (ServiceUnavailable, TimeoutError):
            logger.warning("the audit log is in the process log only: Redis does not answer")

    async def page(self, *, cursor: str | None = None, limit: int = 50) -> tuple[list[Recorded], str | None]:
        """Entries, newest first, and the cursor of the next page.

        Raises:
            UnprocessableContent: the cursor is none of ours.
            ServiceUnavailable: Redis does not answer.
        """
        if cursor is not None and not _ID.fullmatch(cursor):
            raise UnprocessableContent("This cursor is none that a page of the audit log gave.")
        with unavailable_without_redis():
            answer = await self._redis.xrevrange(_STREAM, max=f"({cursor}" if cursor else "+", count=limit + 1)
        found = cast("list[tuple[str, dict[str, str]]]", answer)
        rows = [_recorded(identifier, fields) for identifier, fields in found]
        return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def _recorded(identifier: str, fields: dict[str, str]) -> Recorded:
    entry = Entry(**orjson.loads(fields[_ENTRY]))
    moment = datetime.fromtimestamp(int(identifier.partition("-")[0]) / 1000, UTC)
    return Recorded(identifier, moment, entry)
