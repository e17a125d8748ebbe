"""States in Redis that every event replaces, atomically over replicas: streams, monitors.

The sequence number of a state is how many events it has seen. A new state is written only where the number is still
the one that was read (compare and set in Lua), so two replicas never count one event twice nor lose one. The newest
events are stored with their answers: an event that is sent again with its number gets the same answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

import orjson
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from shared.jobs.connection import unavailable_without_redis
from shared.problems import Conflict, NotFound, PreconditionFailed
from shared.stores.owned_records import OwnedRecords, RecordKind

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
"""How often events without a number are tried against others that come at the same time."""

Document: TypeAlias = dict[str, Any]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class VersionedState:
    """A state at one sequence number.

    Attributes:
        identifier, owner: which, and whose.
        definition: what it was created with; never changes.
        sequence: events so far, 0 or more.
        state: as JSON holds it.
    """

    identifier: str
    owner: str
    definition: Document
    sequence: int
    state: Document

    @property
    def etag(self) -> str:
        """Strong entity tag (RFC 9110, section 8.8.3): the sequence number."""
        return f'"{self.sequence}"'


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event that was counted.

    Attributes:
        sequence: its number, from 1.
        posted: the event as it came.
        answer: what it was answered with.
    """

    sequence: int
    posted: Document
    answer: Document


@dataclass(frozen=True, slots=True)
class Update:
    """What became of events.

    Attributes:
        events: one for each that was sent, with its answer.
        current: the state afterwards.
        replayed: they had been counted before.
    """

    events: list[RecordedEvent]
    current: VersionedState
    replayed: bool = False


Transition: TypeAlias = Callable[[VersionedState], Awaitable[tuple[Document, list[Document]]]]
"""Makes the next state, and an answer for each of the events."""


class VersionedStates(OwnedRecords):
    """The states of one kind.

    Args:
        redis: a client of `shared.jobs.connection.api_client`.
        kind: what they are.
        history: newest events that are stored, 1 or more.
        event: singular noun of an event, for problems.
    """

    def __init__(self, redis: Redis, kind: RecordKind, *, history: int, event: str = "observation") -> None:
        super().__init__(redis, kind)
        self._history = history
        self._event = event
        self._advance = redis.register_script(_ADVANCE)

    async def create(self, identifier: str, definition: Document, state: Document, *, owner: str) -> VersionedState:
        """Store a new one at sequence 0; problems as of `OwnedRecords.add`."""
        record = orjson.dumps({"definition": definition, "first": state}).decode()
        await self.add(identifier, record, owner=owner)
        return VersionedState(identifier, owner, definition, 0, state)

    async def read(self, identifier: str, *, owner: str) -> VersionedState:
        """Read one as it is now; problems as of `OwnedRecords.get`."""
        record = orjson.loads(await self.get(identifier, owner=owner))
        with unavailable_without_redis():
            sequence, state = await self._redis.hmget(self._state_key(identifier, owner), ["sequence", "state"])
        if sequence is None or state is None:
            return VersionedState(identifier, owner, record["definition"], 0, record["first"])
        return VersionedState(identifier, owner, record["definition"], int(sequence), orjson.loads(state))

    async def read_states(
        self, *, owner: str, cursor: str | None, limit: int
    ) -> tuple[list[VersionedState], str | None]:
        """Read some of an owner's, newest first, and the cursor of the next; as `OwnedRecords.read_page`."""
        identifiers, next_cursor = await self.read_ids(owner=owner, cursor=cursor, limit=limit)
        states = []
        for identifier in identifiers:
            with suppress(NotFound):  # deleted in between
                states.append(await self.read(identifier, owner=owner))
        return states, next_cursor

    async def read_history(self, identifier: str, *, owner: str) -> list[RecordedEvent]:
        """Read the newest events with their answers, oldest first.

        Raises:
            ServiceUnavailable: Redis does not answer.
        """
        with unavailable_without_redis():
            entries = await self._redis.lrange(self._history_key(identifier, owner), 0, -1)
        return [RecordedEvent(**orjson.loads(entry)) for entry in entries]

    async def apply(
        self,
        identifier: str,
        events: Sequence[Document],
        transition: Transition,
        *,
        owner: str,
        sequence: int | None = None,
        if_match: str | None = None,
    ) -> Update:
        """Count events, once.

        Args:
            identifier: of the state.
            events: as they came, to tell a repetition from something else.
            transition: makes the next state of the present one; called again if another replica was faster.
            owner: whose.
            sequence: number of the first event, from 1; the next one if None.
            if_match: entity tags that the state may have (If-Match, RFC 9110, section 13.1.1); any if None.

        Raises:
            NotFound: there is none.
            PreconditionFailed: the state is another one than `if_match` says.
            Conflict: the number was used for something else, or is not the next, or others keep coming in between.
            ServiceUnavailable: Redis does not answer.
        """
        for _ in range(_TRIES):
            current = await self.read(identifier, owner=owner)
            if sequence is not None and sequence <= current.sequence:
                return await self._replay(current, events, sequence)
            self._require_match(current, if_match)
            if sequence is not None and sequence > current.sequence + 1:
                raise Conflict(
                    f"The next {self._event} has the number {current.sequence + 1}, and this is number {sequence}: "
                    "those between are missing. Send them first."
                )
            state, answers = await transition(current)
            recorded = [
                RecordedEvent(current.sequence + 1 + place, event, answer)
                for place, (event, answer) in enumerate(zip(events, answers, strict=True))
            ]
            if await self._write(current, state, recorded):
                after = VersionedState(identifier, owner, current.definition, current.sequence + len(recorded), state)
                return Update(recorded, after)
        raise Conflict(f"Others send {self._event}s here at the same time, too many to come in between. Try again.")

    async def _write(self, current: VersionedState, state: Document, events: Sequence[RecordedEvent]) -> bool:
        """Write the next state unless another one was written since `current` was read."""
        keys = [
            self._state_key(current.identifier, current.owner),
            self._history_key(current.identifier, current.owner),
            self._kind.key(current.identifier, current.owner),
        ]
        arguments: list[str | int] = [
            str(current.sequence),
            str(current.sequence + len(events)),
            orjson.dumps(state).decode(),
            self._history,
            *(orjson.dumps(asdict(event)).decode() for event in events),
        ]
        with unavailable_without_redis():
            written = int(await self._advance(keys=keys, args=arguments))
        if written < 0:
            raise self.not_found()
        return bool(written)

    async def _replay(self, current: VersionedState, events: Sequence[Document], sequence: int) -> Update:
        """The answers that these events got before."""
        if sequence + len(events) - 1 > current.sequence:
            raise Conflict(
                f"{self._event.capitalize()}s up to number {current.sequence} have been counted; these begin before "
                f"and end after. Send those from number {current.sequence + 1} on."
            )
        history = await self.read_history(current.identifier, owner=current.owner)
        by_number = {event.sequence: event for event in history}
        counted = [by_number.get(sequence + place) for place in range(len(events))]
        replayed = [event for event in counted if event is not None]
        if len(replayed) < len(counted):
            raise Conflict(f"{self._event.capitalize()} {sequence} was counted long ago; its answer is no longer kept.")
        if any(event.posted != sent for event, sent in zip(replayed, events, strict=True)):
            raise Conflict(
                f"Number {sequence} was used for another {self._event}. The next number is {current.sequence + 1}."
            )
        return Update(replayed, current, replayed=True)

    def _require_match(self, current: VersionedState, if_match: str | None) -> None:
        """Compare strongly (RFC 9110, section 13.1.1)."""
        if if_match is None or if_match.strip() == "*":
            return
        if current.etag not in {tag.strip() for tag in if_match.split(",")}:
            raise PreconditionFailed(
                f"It has seen {current.sequence} {self._event}s by now; its ETag is {current.etag}. "
                "Read it, decide again.",
                headers={"ETag": current.etag},
            )

    def _queue_deletion(self, pipe: Pipeline, identifier: str, owner: str) -> None:
        super()._queue_deletion(pipe, identifier, owner)
        pipe.delete(self._state_key(identifier, owner), self._history_key(identifier, owner))

    def _state_key(self, identifier: str, owner: str) -> str:
        return f"{self._kind.key(identifier, owner)}:state"

    def _history_key(self, identifier: str, owner: str) -> str:
        return f"{self._kind.key(identifier, owner)}:history"
