"""Records in Redis that have an owner: added once, listed newest first, forgotten when deleted.

A record is one string, so reading and writing it is atomic; the index of an owner is a sorted set of ids, which sort by
the time of their making.
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


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing, newest first."""

    records: list[str]
    next_cursor: str | None


class OwnedRecords:
    """The records of one kind.

    Args:
        redis: a client of `shared.jobs.connection.api_client`.
        kind: what they are, a part of their keys: calibration, stream, monitor.
        limit: most records of one owner.
    """

    def __init__(self, redis: Redis, kind: str, *, limit: int) -> None:
        self._redis = redis
        self._kind = kind
        self._limit = limit
        self._add = redis.register_script(_ADD)

    def key(self, identifier: str, owner: str) -> str:
        """Where a record is; an id is looked for among its owner's only."""
        return f"facet:conformal:{self._kind}:{owner}:{identifier}"

    async def add(self, identifier: str, record: str, *, owner: str) -> None:
        """Keep a new record; one that is there already stays as it is.

        Raises:
            Conflict: the owner has as many as may be.
            ServiceUnavailable: Redis does not answer.
        """
        with unavailable_without_redis():
            added = await self._add(
                keys=[self.key(identifier, owner), self._index(owner)], args=[record, identifier, self._limit]
            )
        if int(added) < 0:
            raise Conflict(f"You keep {self._limit} {self._kind}s, which is as many as you may. Delete one.")

    async def get(self, identifier: str, *, owner: str) -> str:
        """One record.

        Raises:
            NotFound: there is none, or it is another caller's.
            ServiceUnavailable: Redis does not answer.
        """
        found = None
        if is_job_id(identifier):
            with unavailable_without_redis():
                found = await self._redis.get(self.key(identifier, owner))
        if found is None:
            raise self.missing(identifier)
        return str(found)

    def missing(self, identifier: str) -> NotFound:
        """The problem of an id that stands for nothing."""
        del identifier  # what a caller sends is not repeated
        return NotFound(f"You have no {self._kind} of this id. GET /v1/uncertainty/{self._kind}s lists yours.")

    async def page(self, *, owner: str, cursor: str | None, limit: int) -> Page:
        """Some of an owner's records, newest first.

        Raises:
            UnprocessableContent: the cursor is none of ours.
            ServiceUnavailable: Redis does not answer.
        """
        shown, more = await self.ids(owner=owner, cursor=cursor, limit=limit)
        with unavailable_without_redis():
            found = await self._redis.mget([self.key(one, owner) for one in shown]) if shown else []
        return Page([str(record) for record in found if record is not None], more)

    async def ids(self, *, owner: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """Ids of a page, newest first, and the cursor of the next; problems as of `page`."""
        start = "+" if cursor is None else f"({decode_cursor(cursor)}"
        with unavailable_without_redis():
            found_ids = await self._redis.zrevrangebylex(self._index(owner), start, "-", start=0, num=limit + 1)
            ids = [str(one) for one in found_ids]
        shown = ids[:limit]
        return shown, encode_cursor(shown[-1]) if len(ids) > limit else None

    async def delete(self, identifier: str, *, owner: str) -> str:
        """Forget a record; returns what it was.

        Raises:
            NotFound: there is none, or it is another caller's.
            ServiceUnavailable: Redis does not answer.
        """
        record = await self.get(identifier, owner=owner)
        with unavailable_without_redis():
            async with self._redis.pipeline(transaction=True) as pipe:
                self._forget(pipe, identifier, owner)
                await pipe.execute()
        return record

    def _forget(self, pipe: Pipeline, identifier: str, owner: str) -> None:
        pipe.delete(self.key(identifier, owner))
        pipe.zrem(self._index(owner), identifier)

    def _index(self, owner: str) -> str:
        return f"facet:conformal:{self._kind}s:{owner}"
