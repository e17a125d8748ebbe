"""A state counts every event once: whoever sends it, how often, and however many send at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.jobs.identifiers import new_job_id
from shared.problems import Conflict, NotFound, PreconditionFailed
from shared.stores.versioned_state import Document, RecordedEvent, Update, VersionedState, VersionedStates
from tests.integration.stores.conftest import KIND

HISTORY = 4


@pytest.fixture
def store(redis: Redis) -> VersionedStates:
    return VersionedStates(redis, KIND, history=HISTORY, event="point")


@pytest.fixture
async def identifier(store: VersionedStates) -> str:
    """A sum of numbers that begins at 0."""
    identifier = new_job_id()
    created = await store.create(identifier, {"unit": "m"}, {"sum": 0}, owner="ada")
    assert (created.sequence, created.etag, created.definition) == (0, '"0"', {"unit": "m"})
    return identifier


async def add(store: VersionedStates, identifier: str, *numbers: int, owner: str = "ada", **options: Any) -> Update:
    """Add numbers to the sum; each is answered with the sum after it."""

    async def transition(current: VersionedState) -> tuple[Document, list[Document]]:
        total, answers = current.state["sum"], []
        for number in numbers:
            total += number
            answers.append({"sum": total})
        return {"sum": total}, answers

    return await store.apply(identifier, [{"number": one} for one in numbers], transition, owner=owner, **options)


async def test_events_are_numbered_answered_and_counted(store: VersionedStates, identifier: str) -> None:
    update = await add(store, identifier, 5, 7)
    assert update.events == [RecordedEvent(1, {"number": 5}, {"sum": 5}), RecordedEvent(2, {"number": 7}, {"sum": 12})]
    assert update.current == VersionedState(identifier, "ada", {"unit": "m"}, 2, {"sum": 12})
    assert await store.read(identifier, owner="ada") == update.current
    assert not update.replayed


async def test_an_event_that_is_sent_again_gets_its_first_answer(store: VersionedStates, identifier: str) -> None:
    first = await add(store, identifier, 5, 7, sequence=1)
    again = await add(store, identifier, 5, 7, sequence=1)
    assert again.replayed
    assert (again.events, again.current) == (first.events, first.current)
    second_only = await add(store, identifier, 7, sequence=2)
    assert second_only.events == first.events[1:]


@pytest.mark.parametrize(
    ("numbers", "sequence", "detail"),
    [
        ([6], 1, "Number 1 was used for another point. The next number is 3."),
        ([7, 1], 2, "Points up to number 2 have been counted"),
        ([1], 4, "The next point has the number 3, and this is number 4"),
    ],
)
async def test_a_number_that_does_not_fit_is_a_conflict(
    store: VersionedStates, identifier: str, numbers: list[int], sequence: int, detail: str
) -> None:
    await add(store, identifier, 5, 7)
    with pytest.raises(Conflict, match=detail):
        await add(store, identifier, *numbers, sequence=sequence)
    assert (await store.read(identifier, owner="ada")).state == {"sum": 12}


async def test_only_the_newest_events_are_kept(store: VersionedStates, identifier: str) -> None:
    for number in range(1, 7):
        await add(store, identifier, number)
    history = await store.read_history(identifier, owner="ada")
    assert [event.sequence for event in history] == [3, 4, 5, 6]
    with pytest.raises(Conflict, match="Point 2 was counted long ago"):
        await add(store, identifier, 2, sequence=2)


async def test_if_match_refuses_what_others_have_changed(store: VersionedStates, identifier: str) -> None:
    await add(store, identifier, 5, if_match='"0"')
    with pytest.raises(PreconditionFailed) as raised:
        await add(store, identifier, 5, if_match='"0"')
    assert raised.value.headers["ETag"] == '"1"'
    assert (await add(store, identifier, 1, if_match='"0", "1"')).current.sequence == 2
    assert (await add(store, identifier, 1, if_match="*")).current.sequence == 3


async def test_concurrent_events_are_all_counted_once(redis: Redis, identifier: str) -> None:
    """Eight replicas, each with a store of its own."""
    stores = [VersionedStates(redis, KIND, history=100) for _ in range(8)]
    updates = await asyncio.gather(*(add(store, identifier, 2**place) for place, store in enumerate(stores)))
    assert sorted(update.current.sequence for update in updates) == list(range(1, 9))
    assert (await stores[0].read(identifier, owner="ada")).state == {"sum": 255}


async def test_a_transition_that_another_replica_overtook_is_made_again(
    store: VersionedStates, identifier: str
) -> None:
    seen: list[int] = []

    async def transition(current: VersionedState) -> tuple[Document, list[Document]]:
        seen.append(current.sequence)
        if len(seen) == 1:
            await add(store, identifier, 10)
        return {"sum": current.state["sum"] + 1}, [{}]

    update = await store.apply(identifier, [{"number": 1}], transition, owner="ada")
    assert seen == [0, 1]
    assert update.current.state == {"sum": 11}


async def test_events_that_are_always_overtaken_end_in_a_conflict(store: VersionedStates, identifier: str) -> None:
    async def transition(current: VersionedState) -> tuple[Document, list[Document]]:
        await add(store, identifier, 1)
        return current.state, [{}]

    with pytest.raises(Conflict, match="too many to come in between"):
        await store.apply(identifier, [{"number": 0}], transition, owner="ada")


async def test_a_state_that_is_deleted_meanwhile_stays_deleted(store: VersionedStates, identifier: str) -> None:
    async def transition(current: VersionedState) -> tuple[Document, list[Document]]:
        await store.delete(identifier, owner="ada")
        return current.state, [{}]

    await add(store, identifier, 1)
    with pytest.raises(NotFound):
        await store.apply(identifier, [{"number": 1}], transition, owner="ada")
    with pytest.raises(NotFound):
        await store.read(identifier, owner="ada")
    assert await store.read_history(identifier, owner="ada") == []


async def test_states_are_listed_newest_first_as_they_are_now(store: VersionedStates, identifier: str) -> None:
    newer = new_job_id()
    await store.create(newer, {}, {"sum": 1}, owner="ada")
    await add(store, identifier, 5)
    states, cursor = await store.read_states(owner="ada", cursor=None, limit=1)
    assert [(state.identifier, state.sequence) for state in states] == [(newer, 0)]
    states, cursor = await store.read_states(owner="ada", cursor=cursor, limit=1)
    assert [(state.identifier, state.state, cursor) for state in states] == [(identifier, {"sum": 5}, None)]


async def test_another_callers_state_is_not_there(store: VersionedStates, identifier: str) -> None:
    with pytest.raises(NotFound):
        await add(store, identifier, 1, owner="eve")
    assert await store.read_history(identifier, owner="eve") == []
