"""Records in Redis that have an owner: created once, listed newest first, deleted as a whole.

A record is one string, so reading and writing it is atomic; the index of an owner is a sorted set of ids, which sort by
the time of their creation (`shared.jobs.identifiers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from shared.jobs.connection import unavailable_without_redis
from shared.jobs.cursors import decode_cursor, encode_cursor
from shared.jobs.identifiers import is_job_id
from shared.problems import Conflict, NotFound

PAGE_LIMIT: Final = 100
"""Most records on one page of a listing."""

_ADD: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) then return -1 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], 0, ARGV[2])
return 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordKind:
    """What the records of one store are.

    Attributes:
        capability: whose they are, by name; a part of their keys.
        name: singular noun, a part of their keys and of problems: calibration, stream.
        path: where they are listed over HTTP, for problems: /v1/<domain>/<names>.
        limit: most records of one owner.
    """

    capability: str
    name: str
    path: str
    limit: int

    def key(self, identifier: str, owner: str) -> str:
        """Redis key of a record."""
        return f"facet:{self.capability}:{self.name}:{owner}:{identifier}"

    def index_key(self, owner: str) -> str:
        """Redis key of the sorted set of an owner's ids."""
        return f"facet:{self.capability}:{self.name}s:{owner}"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing.

    Attributes:
        records: newest first.
        next_cursor: of the next page, None on the last one.
    """

    records: list[str]
    next_cursor: str | None


class OwnedRecords:
    """The records of one kind.

    Args:
        redis: a client of `shared.jobs.connection.api_client`.
        kind: what they are.
    """

    def __init__(self, redis: Redis, kind: RecordKind) -> None:
        self._redis = redis
        self._kind = kind
        self._add = redis.register_script(_ADD)

    async def add(self, identifier: str, record: str, *, owner: str) -> None:
        """Store a new record; one that is there already stays as it is.

        Raises:
            Conflict: the owner has as many as may be.
            ServiceUnavailable: Redis does not answer.
        """
        kind = self._kind
        with unavailable_without_redis():
            added = await self._add(
                keys=[kind.key(identifier, owner), kind.index_key(owner)], args=[record, identifier, kind.limit]
            )
        if int(added) < 0:
            raise Conflict(f"You keep {kind.limit} {kind.name}s, which is as many as you may. Delete one.")

    async def get(self, identifier: str, *, owner: str) -> str:
        """Read one record.

        Raises:
            NotFound: there is none, or it is another caller's.
            ServiceUnavailable: Redis does not answer.
        """
        record = None
        if is_job_id(identifier):
            with unavailable_without_redis():
                record = await self._redis.get(self._kind.key(identifier, owner))
        if record is None:
            raise self.not_found()
        return str(record)

    def not_found(self) -> NotFound:
        """The problem of an id without a record; what a caller sent is not repeated in it."""
        return NotFound(f"You have no {self._kind.name} of this id. GET {self._kind.path} lists yours.")

    async def read_page(self, *, owner: str, cursor: str | None, limit: int) -> Page:
        """Read some of an owner's records, newest first.

        Args:
            owner: whose.
            cursor: `next_cursor` of the page before; None: the first page.
            limit: most records, 1 to `PAGE_LIMIT`.

        Raises:
            UnprocessableContent: the cursor is none of ours.
            ServiceUnavailable: Redis does not answer.
        """
        identifiers, next_cursor = await self.read_ids(owner=owner, cursor=cursor, limit=limit)
        keys = [self._kind.key(identifier, owner) for identifier in identifiers]
        with unavailable_without_redis():
            records = await self._redis.mget(keys) if keys else []
        return Page([str(record) for record in records if record is not None], next_cursor)

    async def read_ids(self, *, owner: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """Read the ids of a page, newest first, and the cursor of the next; as `read_page`."""
        start = "+" if cursor is None else f"({decode_cursor(cursor)}"
        with unavailable_without_redis():
            members = await self._redis.zrevrangebylex(self._kind.index_key(owner), start, "-", start=0, num=limit + 1)
        identifiers = [str(member) for member in members[:limit]]
        return identifiers, encode_cursor(identifiers[-1]) if len(members) > limit else None

    async def delete(self, identifier: str, *, owner: str) -> str:
        """Delete a record; returns what it was.

        Raises:
            NotFound: there is none, or it is another caller's.
            ServiceUnavailable: Redis does not answer.
        """
        record = await self.get(identifier, owner=owner)
        with unavailable_without_redis():
            async with self._redis.pipeline(transaction=True) as pipe:
                self._queue_deletion(pipe, identifier, owner)
                await pipe.execute()
        return record

    def _queue_deletion(self, pipe: Pipeline, identifier: str, owner: str) -> None:
        pipe.delete(self._kind.key(identifier, owner))
        pipe.zrem(self._kind.index_key(owner), identifier)
