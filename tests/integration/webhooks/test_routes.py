"""Webhooks as their owner handles them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared.problems import NotFound
from shared.request_context import bound, new_context
from shared.settings import Settings
from shared.webhooks.store import WebhookStore
from tests.integration.webhooks.conftest import ALL, Subscribe, delivery_when
from tests.integration.webhooks.receivers import receiving, until

URL = "https://93.184.216.34/hook"
UNKNOWN = "wh_" + "0" * 24
WANTED: dict[str, Any] = {"url": URL, "events": ["job.succeeded"]}


async def test_what_is_made_can_be_read_and_its_secret_only_once(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/webhooks", json=WANTED | {"kinds": ["medical.a"], "description": "for tests"})
    webhook = made.json()
    path = f"/v1/webhooks/{webhook['id']}"
    assert (made.status_code, made.headers["location"]) == (201, path)
    assert made.headers["cache-control"] == "private, no-store"
    assert webhook.pop("secret").startswith("whsec_")
    assert (webhook["url"], webhook["events"], webhook["kinds"]) == (URL, ["job.succeeded"], ["medical.a"])
    assert (webhook["enabled"], webhook["description"]) == (True, "for tests")
    assert (await client.get(path)).json() == webhook
    assert (await client.get("/v1/webhooks")).json() == {"webhooks": [webhook]}


async def test_changes(client: httpx.AsyncClient) -> None:
    webhook = (await client.post("/v1/webhooks", json=WANTED)).json()
    path = f"/v1/webhooks/{webhook['id']}"
    changed = (await client.patch(path, json={"events": ["job.failed", "job.failed"], "enabled": False})).json()
    assert (changed["events"], changed["url"], changed["enabled"]) == (["job.failed"], URL, False)
    assert changed["disabled_reason"] == "Its owner disabled it."
    assert (await client.patch(path, json={})).json() == changed
    elsewhere = "https://93.184.216.35/"
    assert (await client.patch(path, json={"url": elsewhere, "kinds": ["a"]})).json()["url"] == elsewhere
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 404


async def test_disabling_gives_up_what_waits(client: httpx.AsyncClient, subscribe: Subscribe) -> None:
    with receiving((503, {"Retry-After": "600"}, b"")) as receiver:
        webhook = await subscribe(receiver)
        path = f"/v1/webhooks/{webhook['id']}"
        delivery = (await client.post(f"{path}/test")).json()
        await until(receiver.has(1))
        there = f"{path}/deliveries/{delivery['id']}"
        while not (await client.get(there)).json()["next_at"]:
            pass
        await client.patch(path, json={"enabled": False})
        given_up = (await client.get(there)).json()
    assert (given_up["status"], given_up["next_at"], len(given_up["attempts"])) == ("failed", None, 1)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"url": "https://10.0.0.1/"}, "/body/url"),
        ({"url": "https://127.1.2.3:22/"}, "/body/url"),
        ({"url": "https://[::1]/"}, "/body/url"),
        ({"url": "https://user@93.184.216.34/"}, "/body/url"),
        ({"url": "http://93.184.216.34/"}, "/body/url"),
        ({"url": "file:///etc/passwd"}, "/body/url"),
        ({"url": "https://name.invalid/"}, "/body/url"),
        ({"events": []}, "/body/events"),
        ({"events": ["job.unknown"]}, "/body/events/0"),
        ({"surplus": 1}, "/body/surplus"),
    ],
)
async def test_faults_are_named(client: httpx.AsyncClient, change: dict[str, Any], pointer: str) -> None:
    webhook = (await client.post("/v1/webhooks", json=WANTED)).json()
    for answer in (
        await client.post("/v1/webhooks", json=WANTED | change),
        await client.patch(f"/v1/webhooks/{webhook['id']}", json=change),
    ):
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_field_that_is_not_known_is_told_from_those_that_are(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/webhooks", json=WANTED | {"event": ["job.failed"]})
    (error,) = answer.json()["errors"]
    assert error["detail"].startswith("This field is not known. Did you mean events? Known are: ")
    assert {"events", "url"} <= set(error["detail"].rpartition(": ")[2].rstrip(".").split(", "))


async def test_their_number_is_bounded(client: httpx.AsyncClient, settings: Settings) -> None:
    answers = [(await client.post("/v1/webhooks", json=WANTED)).status_code for _ in range(settings.webhook_limit + 1)]
    assert answers == [201] * settings.webhook_limit + [409]


@pytest.mark.parametrize("webhook_id", [UNKNOWN, "nonsense", "of:anonymous"])
async def test_unknown_webhooks_are_404(client: httpx.AsyncClient, webhook_id: str) -> None:
    path = f"/v1/webhooks/{webhook_id}"
    for method, below in (
        ("GET", ""), ("DELETE", ""), ("POST", "/secret"), ("POST", "/test"), ("GET", "/deliveries"),
        ("GET", "/deliveries/msg_1"), ("POST", "/deliveries/msg_1/redelivery"),
    ):  # fmt: skip
        answer = await client.request(method, path + below)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert (await client.patch(path, json={"enabled": True})).status_code == 404


async def test_another_owner_sees_nothing(webhooks: WebhookStore) -> None:
    mine, _ = await webhooks.create("me", url=URL, events=tuple(ALL), kinds=(), description="")
    theirs, _ = await webhooks.create("them", url=URL, events=tuple(ALL), kinds=(), description="")
    delivery = await webhooks.test(mine.id, owner="me")
    assert [webhook.id for webhook in await webhooks.list_webhooks("them")] == [theirs.id]
    for attempt in (
        webhooks.get(mine.id, owner="them"),
        webhooks.change(mine.id, owner="them", enabled=False, fields={}),
        webhooks.rotate(mine.id, owner="them"),
        webhooks.test(mine.id, owner="them"),
        webhooks.deliveries(mine.id, owner="them"),
        webhooks.delivery(mine.id, delivery.id, owner="them"),
        webhooks.redeliver(mine.id, delivery.id, owner="them"),
        webhooks.delete(mine.id, owner="them"),
        # Nor by way of a webhook of their own.
        webhooks.delivery(theirs.id, delivery.id, owner="them"),
        webhooks.redeliver(theirs.id, delivery.id, owner="them"),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await webhooks.get(mine.id, owner="me")).enabled


async def test_deliveries_are_paged(client: httpx.AsyncClient, webhooks: WebhookStore, subscribe: Subscribe) -> None:
    with receiving() as receiver:
        webhook = await subscribe(receiver)
        with bound(new_context()):
            made = [(await webhooks.test(webhook["id"], owner="anonymous")).id for _ in range(5)]
        await until(receiver.has(5))
        seen: list[str] = []
        following: str | None = f"/v1/webhooks/{webhook['id']}/deliveries?limit=2"
        while following:
            answer = await client.get(following)
            seen += [delivery["id"] for delivery in answer.json()["deliveries"]]
            assert bool(answer.links) == bool(answer.json()["next_cursor"])
            following = answer.links["next"]["url"] if answer.links else None
    assert seen == made[::-1]
    refused = await client.get(f"/v1/webhooks/{webhook['id']}/deliveries", params={"cursor": "nonsense"})
    assert refused.status_code == 422


async def test_deleting_leaves_nothing(client: httpx.AsyncClient, subscribe: Subscribe, connection: Any) -> None:
    with receiving() as receiver:
        webhook = await subscribe(receiver)
        await client.post(f"/v1/webhooks/{webhook['id']}/test")
        await delivery_when(client, webhook, lambda found: bool(found["status"] == "delivered"))
    assert 'facet_webhook_attempts_total{outcome="delivered"} 1.0' in (await client.get("/metrics")).text
    assert (await client.delete(f"/v1/webhooks/{webhook['id']}")).status_code == 204
    assert await connection.keys("facet:webhook:*") + await connection.keys("facet:delivery:*") == []
    assert sorted(await connection.keys("facet:webhooks:*")) == ["facet:webhooks:counts", "facet:webhooks:serial"]
