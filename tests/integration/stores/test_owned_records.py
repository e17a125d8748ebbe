"""Records belong to who created them: nobody else reads, lists, deletes or counts them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from shared.jobs.connection import api_client
from shared.jobs.identifiers import new_job_id
from shared.problems import Conflict, NotFound, ServiceUnavailable, UnprocessableContent
from shared.stores.owned_records import OwnedRecords
from tests.integration.conftest import free_port
from tests.integration.stores.conftest import KIND


@pytest.fixture
def store(redis: Redis) -> OwnedRecords:
    return OwnedRecords(redis, KIND)


async def add(store: OwnedRecords, record: str, *, owner: str = "ada") -> str:
    identifier = new_job_id()
    await store.add(identifier, record, owner=owner)
    return identifier


async def test_a_record_is_read_by_its_owner_only(store: OwnedRecords) -> None:
    identifier = await add(store, "3-4-5")
    assert await store.get(identifier, owner="ada") == "3-4-5"
    with pytest.raises(NotFound, match="GET /v1/geometry/triangles lists yours"):
        await store.get(identifier, owner="eve")
    with pytest.raises(NotFound):
        await store.delete(identifier, owner="eve")
    assert await store.get(identifier, owner="ada") == "3-4-5"


@pytest.mark.parametrize("identifier", ["", "*", "ada:1", "..", "a" * 5000])
async def test_what_is_no_id_is_not_found(store: OwnedRecords, identifier: str) -> None:
    with pytest.raises(NotFound) as raised:
        await store.get(identifier, owner="ada")
    assert not identifier or identifier not in raised.value.detail.replace("GET /v1/geometry/triangles", "")


async def test_a_record_never_changes(store: OwnedRecords) -> None:
    identifier = await add(store, "first")
    await store.add(identifier, "second", owner="ada")
    assert await store.get(identifier, owner="ada") == "first"


async def test_pages_are_newest_first_and_end(store: OwnedRecords) -> None:
    for record in ("a", "b", "c"):
        await add(store, record)
    await add(store, "another caller's", owner="eve")
    first = await store.read_page(owner="ada", cursor=None, limit=2)
    assert first.records == ["c", "b"]
    last = await store.read_page(owner="ada", cursor=first.next_cursor, limit=2)
    assert (last.records, last.next_cursor) == (["a"], None)
    assert (await store.read_page(owner="nobody", cursor=None, limit=2)).records == []
    with pytest.raises(UnprocessableContent):
        await store.read_page(owner="ada", cursor="!", limit=2)


async def test_the_limit_is_each_owners_own_and_holds_under_concurrency(store: OwnedRecords) -> None:
    made = await asyncio.gather(*(add(store, str(index)) for index in range(8)), return_exceptions=True)
    refused = [one for one in made if isinstance(one, Conflict)]
    assert len(refused) == 8 - KIND.limit
    assert "You keep 3 triangles" in refused[0].detail
    await add(store, "another caller's", owner="eve")


async def test_deleting_makes_room_and_returns_what_was_deleted(store: OwnedRecords) -> None:
    identifiers = [await add(store, str(index)) for index in range(KIND.limit)]
    assert await store.delete(identifiers[0], owner="ada") == "0"
    with pytest.raises(NotFound):
        await store.delete(identifiers[0], owner="ada")
    await add(store, "new")


async def test_kinds_and_capabilities_are_apart(redis: Redis, store: OwnedRecords) -> None:
    identifier = await add(store, "3-4-5")
    for other in (replace(KIND, name="square"), replace(KIND, capability="trigonometry")):
        with pytest.raises(NotFound):
            await OwnedRecords(redis, other).get(identifier, owner="ada")


async def test_without_redis_it_is_unavailable() -> None:
    client = api_client(f"redis://127.0.0.1:{free_port()}/0")
    try:
        with pytest.raises(ServiceUnavailable):
            await OwnedRecords(client, KIND).add(new_job_id(), "record", owner="ada")
    finally:
        await client.aclose()
