"""Things that run on (streams, monitors): a state in Redis that every observation replaces, atomically over replicas.

The sequence number of a state is how many observations it has seen. A new state is written only where the number is
still the one that was read (compare and set in Lua), so two replicas never count one observation twice nor lose one.
The newest observations are kept with their answers: what is sent again with its number gets the same answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from services.uncertainty.conformal.storage.owned_records import OwnedRecords
from shared.jobs.connection import unavailable_without_redis
from shared.problems import Conflict, NotFound, PreconditionFailed

_ADVANCE: Final = """
if redis.call('EXISTS', KEYS[3]) == 0 then return -1 end
local now = redis.call('HGET', KEYS[1], 'sequence') or '0'
if now ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'sequence', ARGV[2], 'state', ARGV[3])
for place = 5, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[place]) end
redis.call('LTRIM', KEYS[2], -tonumber(ARGV[4]), -1)
return 1
"""

_TRIES: Final = 50
"""How often an observation without a number is tried against others that come at the same time."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Running:
    """One of them as it is now.

    Attributes:
        identifier, owner: which, and whose.
        definition: what it was made with; never changes.
        sequence: observations so far.
        state: as JSON holds it.
    """

    identifier: str
    owner: str
    definition: Document
    sequence: int
    state: Document

    @property
    def etag(self) -> str:
        """Entity tag: the sequence number."""
        return f'"{self.sequence}"'


@dataclass(frozen=True, slots=True)
class Observed:
    """What became of observations.

    Attributes:
        entries: kept with their answers, one for each.
        running: afterwards.
        replayed: they had been counted before.
    """

    entries: list[Document]
    running: Running
    replayed: bool = False


class RunningRecords(OwnedRecords):
    """The running things of one kind.

    Args:
        redis: a client of `shared.jobs.connection.api_client`.
        kind: what they are, a part of their keys.
        limit: most of one owner.
        history: newest observations that are kept.
    """

    def __init__(self, redis: Redis, kind: str, *, limit: int, history: int) -> None:
        super().__init__(redis, kind, limit=limit)
        self._history = history
        self._advance = redis.register_script(_ADVANCE)

    async def start(self, identifier: str, definition: Document, state: Document, *, owner: str) -> Running:
        """Keep a new one; problems as of `OwnedRecords.add`."""
        record = orjson.dumps({"definition": definition, "first": state}).decode()
        await self.add(identifier, record, owner=owner)
        return Running(identifier, owner, definition, 0, state)

    async def read(self, identifier: str, *, owner: str) -> Running:
        """One as it is now; problems as of `OwnedRecords.get`."""
        record = orjson.loads(await self.get(identifier, owner=owner))
        with unavailable_without_redis():
            sequence, state = await self._redis.hmget(self._state_key(identifier, owner), ["sequence", "state"])
        if sequence is None or state is None:
            return Running(identifier, owner, record["definition"], 0, record["first"])
        return Running(identifier, owner, record["definition"], int(sequence), orjson.loads(state))

    async def running_page(self, *, owner: str, cursor: str | None, limit: int) -> tuple[list[Running], str | None]:
        """Some of an owner's, newest first, and the cursor of the next; problems as of `OwnedRecords.page`."""
        ids, more = await self.ids(owner=owner, cursor=cursor, limit=limit)
        found = []
        for identifier in ids:
            with suppress(NotFound):  # deleted in between
                found.append(await self.read(identifier, owner=owner))
        return found, more

    async def entries(self, identifier: str, *, owner: str) -> list[Document]:
        """The newest observations with their answers, oldest first."""
        with unavailable_without_redis():
            found = await self._redis.lrange(self._history_key(identifier, owner), 0, -1)
        return [orjson.loads(one) for one in found]

    async def observe(
        self,
        identifier: str,
        posted: Sequence[Document],
        apply: Callable[[Running], Awaitable[tuple[Document, list[Document]]]],
        *,
        owner: str,
        sequence: int | None = None,
        if_match: str | None = None,
    ) -> Observed:
        """Count observations, once.

        Args:
            identifier: of what.
            posted: the observations as they came, to tell a repetition from something else.
            apply: makes the next state and an answer for each of the observations.
            owner: whose.
            sequence: number of the first of them, from 1; the next one unless given.
            if_match: entity tag that the state must have.

        Raises:
            NotFound: there is none.
            PreconditionFailed: the state is another one than `if_match` says.
            Conflict: the number was used for something else, or is not the next, or others keep coming in between.
            ServiceUnavailable: Redis does not answer.
        """
        for _ in range(_TRIES):
            running = await self.read(identifier, owner=owner)
            if sequence is not None and sequence <= running.sequence:
                return await self._replay(running, posted, sequence)
            _require_match(running, if_match)
            if sequence is not None and sequence > running.sequence + 1:
                raise Conflict(
                    f"The next observation has the number {running.sequence + 1}, and this is number {sequence}: "
                    "those between are missing. Send them first."
                )
            state, answers = await apply(running)
            first = running.sequence + 1
            entries = [
                {"sequence": first + place, "posted": one, "answer": answer}
                for place, (one, answer) in enumerate(zip(posted, answers, strict=True))
            ]
            if await self._write(running, state, entries):
                after = Running(identifier, owner, running.definition, running.sequence + len(entries), state)
                return Observed(entries, after)
        raise Conflict("Others observe here at the same time, too many to come in between. Try again.")

    async def _write(self, running: Running, state: Document, entries: Sequence[Document]) -> bool:
        keys = [
            self._state_key(running.identifier, running.owner),
            self._history_key(running.identifier, running.owner),
            self.key(running.identifier, running.owner),
        ]
        arguments: list[str | int] = [
            str(running.sequence),
            str(running.sequence + len(entries)),
            orjson.dumps(state).decode(),
            self._history,
            *(orjson.dumps(entry).decode() for entry in entries),
        ]
        with unavailable_without_redis():
            written = int(await self._advance(keys=keys, args=arguments))
        if written < 0:
            raise self.missing(running.identifier)
        return bool(written)

    async def _replay(self, running: Running, posted: Sequence[Document], sequence: int) -> Observed:
        """The answers that these observations got before."""
        if sequence + len(posted) - 1 > running.sequence:
            raise Conflict(
                f"Observations up to number {running.sequence} have been counted; these begin before and end after. "
                f"Send those from number {running.sequence + 1} on."
            )
        known = {one["sequence"]: one for one in await self.entries(running.identifier, owner=running.owner)}
        entries = [known.get(sequence + place) for place in range(len(posted))]
        found = [one for one in entries if one is not None]
        if len(found) < len(entries):
            raise Conflict(f"Observation {sequence} was counted long ago; its answer is no longer kept.")
        if any(one["posted"] != given for one, given in zip(found, posted, strict=True)):
            raise Conflict(
                f"Number {sequence} was used for another observation. The next number is {running.sequence + 1}."
            )
        return Observed(found, running, replayed=True)

    def _forget(self, pipe: Pipeline, identifier: str, owner: str) -> None:
        super()._forget(pipe, identifier, owner)
        pipe.delete(self._state_key(identifier, owner), self._history_key(identifier, owner))

    def _state_key(self, identifier: str, owner: str) -> str:
        return f"{self.key(identifier, owner)}:state"

    def _history_key(self, identifier: str, owner: str) -> str:
        return f"{self.key(identifier, owner)}:history"


def _require_match(running: Running, if_match: str | None) -> None:
    """Compare strongly (RFC 9110, section 13.1.1)."""
    if if_match is None or if_match.strip() == "*":
        return
    if running.etag not in {tag.strip() for tag in if_match.split(",")}:
        raise PreconditionFailed(
            f"It has seen {running.sequence} observations by now; its ETag is {running.etag}. Read it, decide again.",
            headers={"ETag": running.etag},
        )
