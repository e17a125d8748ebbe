"""Plans and reports in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis

from shared.deployments.desired_state import Deployment, DesiredState
from shared.deployments.store import DesiredStateStore, Report, VersionReport
from shared.jobs.connection import api_client
from shared.problems import Conflict, FieldError, ServiceUnavailable
from shared.runtime.cards import UploadedCard
from shared.runtime.models.version_routing import Canary
from tests.support.own_models import own_card, scale

CARD = UploadedCard.model_validate(own_card(scale(2)))


@pytest.fixture
async def plans(redis_url: str) -> AsyncIterator[DesiredStateStore]:
    client = api_client(redis_url)
    yield DesiredStateStore(client)
    await client.aclose()


async def test_a_plan_is_read_as_it_was_written(plans: DesiredStateStore) -> None:
    assert await plans.read("perception") == DesiredState()
    wanted = (
        DesiredState()
        .with_upload(Deployment(CARD, "sha256:a"))
        .with_alias("scale", "default", "1.0.0")
        .with_canary("scale", Canary("1.0.0", 0.25))
    )
    written = await plans.change("perception", lambda _: wanted)
    assert await plans.read("perception") == written
    assert (written.aliases, written.canaries) == (wanted.aliases, wanted.canaries)
    assert await plans.revision("perception") == written.revision > 0
    assert await plans.revision("medical") == 0
    fewer = await plans.change(
        "perception", lambda plan: plan.without_canary("scale").without_alias("scale", "default")
    )
    assert fewer.revision > written.revision
    assert await plans.read("perception") == fewer


async def test_nothing_changed_is_no_revision_and_a_problem_changes_nothing(plans: DesiredStateStore) -> None:
    before = await plans.change("perception", lambda plan: plan.with_upload(Deployment(CARD, "sha256:a")))
    assert await plans.change("perception", lambda plan: plan.with_upload(Deployment(CARD, "sha256:a"))) == before
    with pytest.raises(Conflict):
        await plans.change("perception", lambda plan: plan.with_upload(Deployment(CARD, "sha256:b")))
    assert await plans.read("perception") == before


async def test_no_change_is_lost_when_many_come_at_once(plans: DesiredStateStore) -> None:
    async def add(number: int) -> None:
        await plans.change("perception", lambda plan: plan.with_alias("scale", f"alias-{number}", "1.0.0"))

    await asyncio.gather(*map(add, range(10)))
    assert len((await plans.read("perception")).aliases["scale"]) == 10


async def test_an_unreadable_record_hides_itself_only(plans: DesiredStateStore, redis_url: str) -> None:
    await plans.change("perception", lambda plan: plan.with_upload(Deployment(CARD, "sha256:a")))
    with redis.Redis.from_url(redis_url) as client:
        client.hset("facet:models:perception", "version:other/1.0.0", '{"card": {"from": "the future"}}')
    assert (await plans.read("perception")).deployments.keys() == {("scale", "1.0.0")}


async def test_replicas_that_are_silent_are_not_counted(plans: DesiredStateStore, redis_url: str) -> None:
    failed = VersionReport("failed", (FieldError(pointer="/body/file", detail="Broken."),))
    first = Report(3, {("scale", "1.0.0"): failed})
    await plans.report("perception", "a", first)
    await plans.report("perception", "b", Report(4, {}))
    assert await plans.reports("perception") == [first, Report(4, {})]
    with redis.Redis.from_url(redis_url) as client:
        assert 0 < client.pttl("facet:models:perception:replica:b") <= 6000
        client.delete("facet:models:perception:replica:b")
    assert await plans.reports("perception") == [first]
    await plans.leave("perception", "a")
    assert await plans.reports("perception") == []


async def test_without_redis_it_says_so() -> None:
    client = api_client("redis://127.0.0.1:1/0")
    with pytest.raises(ServiceUnavailable):
        await DesiredStateStore(client).read("perception")
    await client.aclose()
