"""From the change of a job to its receiver: what arrives, and what becomes of what does not."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing, suppress
from typing import Any

import httpx
import orjson
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.jobs.connection import worker_client
from shared.jobs.sweeper import Sweeper
from shared.problems import Conflict
from shared.settings import Settings
from tests.integration.gateway.conftest import Unpublished, kind
from tests.integration.gateway.servers import serve_bytes
from tests.integration.webhooks.conftest import Jobs, Subscribe, delivery_when, until
from tests.integration.webhooks.receivers import TAKEN, Received, receiving

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def is_delivered(delivery: dict[str, Any]) -> bool:
    return bool(delivery["status"] == "delivered")


def is_failed(delivery: dict[str, Any]) -> bool:
    return bool(delivery["status"] == "failed")


def tried(count: int) -> Any:
    return lambda delivery: len(delivery["attempts"]) >= count


def types(received: list[Received]) -> list[str]:
    return [orjson.loads(request.body)["type"] for request in received]


async def test_a_jobs_life_arrives_signed(client: httpx.AsyncClient, jobs: Jobs, subscribe: Subscribe) -> None:
    with receiving() as receiver:
        webhook = await subscribe(receiver)
        attempt = await jobs.start(traceparent=TRACE)
        await until(receiver.has(1))
        attempt.succeed({"answer": "not to be seen in a message"})
        await until(receiver.has(2))
        await delivery_when(client, webhook, is_delivered)
    started, succeeded = receiver.received
    for request in receiver.received:
        Webhook(webhook["secret"]).verify(request.body, request.headers)
        assert request.path == "/hook"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("Facet/")
        assert request.headers["host"] == receiver.url.split("/")[2]
        assert b"not to be seen" not in request.body
        trace = request.headers["traceparent"].split("-")
        assert trace[1] == TRACE.split("-")[1]
        assert trace[2] != TRACE.split("-")[2]
    assert orjson.loads(started.body)["type"] == "job.started"
    content = orjson.loads(succeeded.body)
    path = f"/v1/jobs/{attempt.record.id}"
    assert content["type"] == "job.succeeded"
    assert content["data"] == {
        "id": attempt.record.id,
        "kind": "medical.test",
        "status": "succeeded",
        "links": {"self": path, "events": f"{path}/events", "result": f"{path}/result"},
    }
    assert started.headers["webhook-id"] != succeeded.headers["webhook-id"]


async def test_filters_by_event_and_kind(jobs: Jobs, subscribe: Subscribe) -> None:
    with receiving() as ends, receiving() as one_kind:
        await subscribe(ends, events=["job.succeeded", "job.failed"])
        await subscribe(one_kind, kinds=["medical.other"])
        (await jobs.start("medical.test")).succeed({})
        (await jobs.start("medical.other")).succeed({})
        await until(ends.has(2))
        await until(one_kind.has(2))
        await asyncio.sleep(0.3)
    assert types(ends.received) == ["job.succeeded", "job.succeeded"]
    assert {orjson.loads(request.body)["data"]["kind"] for request in one_kind.received} == {"medical.other"}
    assert sorted(types(one_kind.received)) == ["job.started", "job.succeeded"]


async def test_every_end_is_told_of(jobs: Jobs, subscribe: Subscribe, settings: Settings, connection: Any) -> None:
    with receiving() as receiver:
        await subscribe(receiver, events=["job.failed", "job.cancelled", "job.expired"])
        failed = await jobs.start()
        failed.fail(Conflict("It must not be."))
        running = await jobs.start()
        await jobs.store.request_cancel(running.record.id)
        running.cancelled()
        queued = await jobs.store.create(kind(), {})
        await jobs.store.request_cancel(queued.id)
        forgotten = await jobs.store.create(kind(), {})
        await connection.zadd("facet:due", {forgotten.id: 0})  # it has waited too long
        with closing(worker_client(settings.redis_url)) as worker:
            Sweeper(worker, Unpublished(), settings).expire()
        await until(receiver.has(4))
        await asyncio.sleep(0.2)
    messages = [orjson.loads(request.body) for request in receiver.received]
    assert sorted(
        (message["type"], message["data"]["id"], message["data"]["status"]) for message in messages
    ) == sorted(
        [
            ("job.failed", failed.record.id, "failed"),
            ("job.cancelled", running.record.id, "cancelled"),
            ("job.cancelled", queued.id, "cancelled"),
            ("job.expired", forgotten.id, "expired"),
        ]
    )


async def test_another_owners_jobs_are_not_told_of(jobs: Jobs, subscribe: Subscribe, connection: Any) -> None:
    with receiving() as receiver:
        await subscribe(receiver)
        (await jobs.start(owner="somebody-else")).succeed({})
        assert await connection.xlen("facet:outbox") == 0  # who has no webhook does not even pay for a line
        mine = await jobs.start()
        await until(receiver.has(1))
        await asyncio.sleep(0.3)
    assert [orjson.loads(request.body)["data"]["id"] for request in receiver.received] == [mine.record.id]


async def test_failures_are_retried_with_the_same_message(
    client: httpx.AsyncClient, jobs: Jobs, subscribe: Subscribe
) -> None:
    with receiving((500, {}, b"x" * 5000), (503, {"Retry-After": "1"}, b"busy"), TAKEN) as receiver:
        webhook = await subscribe(receiver, events=["job.started"])
        await jobs.start()
        delivery = await delivery_when(client, webhook, is_delivered)
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
    assert len({request.body for request in receiver.received}) == 1
    first, second, third = delivery["attempts"]
    assert (first["status_code"], len(first["answer"])) == (500, 2048)
    assert (second["status_code"], second["answer"]) == (503, "busy")
    assert (third["status_code"], third["error"]) == (204, None)
    begun = [request.headers["webhook-timestamp"] for request in receiver.received]
    assert int(begun[2]) - int(begun[1]) >= 1  # as Retry-After asked; the schedule alone would be sooner
    assert (delivery["attempt"], delivery["next_at"]) == (3, None)


async def test_after_the_schedule_it_is_given_up_and_can_be_redelivered(
    client: httpx.AsyncClient, jobs: Jobs, subscribe: Subscribe
) -> None:
    with receiving((500, {}, b"")) as receiver:
        webhook = await subscribe(receiver, events=["job.started"])
        await jobs.start()
        delivery = await delivery_when(client, webhook, is_failed)
        assert [attempt["status_code"] for attempt in delivery["attempts"]] == [500] * 4
        path = f"/v1/webhooks/{webhook['id']}/deliveries"
        assert (await client.get(path, params={"status": "delivered"})).json()["deliveries"] == []
        receiver.answers[:] = [(502, {}, b""), TAKEN]  # the schedule begins anew
        answer = await client.post(f"{path}/{delivery['id']}/redelivery")
        assert answer.status_code == 202
        assert answer.headers["location"] == f"{path}/{delivery['id']}"
        again = await delivery_when(client, webhook, is_delivered)
    assert [attempt["status_code"] for attempt in again["attempts"]] == [500] * 4 + [502, 204]
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1


async def test_a_redirect_is_a_failure_and_not_followed(
    client: httpx.AsyncClient, jobs: Jobs, subscribe: Subscribe
) -> None:
    with receiving() as inner, receiving((307, {"Location": inner.url}, b"")) as receiver:
        webhook = await subscribe(receiver, events=["job.started"])
        await jobs.start()
        delivery = await delivery_when(client, webhook, is_failed)
    assert inner.received == []
    assert {(attempt["status_code"], attempt["error"]) for attempt in delivery["attempts"]} == {
        (307, "Redirects are not followed.")
    }


async def test_gone_disables_the_webhook(client: httpx.AsyncClient, jobs: Jobs, subscribe: Subscribe) -> None:
    with receiving((410, {}, b"")) as receiver:
        webhook = await subscribe(receiver)
        attempt = await jobs.start()
        delivery = await delivery_when(client, webhook, is_failed)
        state = (await client.get(f"/v1/webhooks/{webhook['id']}")).json()
        attempt.succeed({})
        refused = [
            await client.post(f"/v1/webhooks/{webhook['id']}/{what}")
            for what in ("test", f"deliveries/{delivery['id']}/redelivery")
        ]
        assert (state["enabled"], state["disabled_reason"]) == (False, "The receiver answered 410 Gone.")
        assert [answer.status_code for answer in refused] == [409, 409]
        receiver.answers[:] = [TAKEN]
        enabled = (await client.patch(f"/v1/webhooks/{webhook['id']}", json={"enabled": True})).json()
        assert (enabled["enabled"], enabled["disabled_reason"], enabled["failing_since"]) == (True, None, None)
        await client.post(f"/v1/webhooks/{webhook['id']}/test")
        await until(receiver.has(2))
    assert types(receiver.received) == ["job.started", "webhook.test"]


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer that never ends, a byte at a time: no single read of it takes long."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    with closing(writer), suppress(ConnectionError):
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer without end, as fast as it is read."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
    with closing(writer), suppress(ConnectionError):
        while True:
            writer.write(b"." * 65536)
            await writer.drain()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n\r\n")
    with closing(writer), suppress(ConnectionError):
        await reader.read()


@pytest.mark.parametrize(
    ("handler", "said"),
    [(drip, "within 1 s"), (hang_up, "ended early"), (babble, "not HTTP")],
    ids=["drips", "hangs up", "babbles"],
)
async def test_receivers_that_misbehave(
    client: httpx.AsyncClient, jobs: Jobs, subscribe: Subscribe, handler: Any, said: str
) -> None:
    with serve_bytes(handler) as url:
        webhook = await subscribe(url, events=["job.started"])
        await jobs.start()
        delivery = await delivery_when(client, webhook, tried(2))
    for attempt in delivery["attempts"]:
        assert attempt["status_code"] is None
        assert said in attempt["error"]
        assert attempt["duration_ms"] < 10_000


async def test_a_long_answer_is_not_read_to_its_end(
    client: httpx.AsyncClient, jobs: Jobs, subscribe: Subscribe
) -> None:
    with serve_bytes(flood) as url:
        webhook = await subscribe(url, events=["job.started"])
        await jobs.start()
        delivery = await delivery_when(client, webhook, is_delivered)
    assert delivery["attempts"][0]["answer"] == "." * 2048


async def test_nobody_listening(client: httpx.AsyncClient, jobs: Jobs, subscribe: Subscribe) -> None:
    with receiving() as receiver:
        url = receiver.url
    webhook = await subscribe(url, events=["job.started"])
    await jobs.start()
    delivery = await delivery_when(client, webhook, is_failed)
    assert [attempt["error"] for attempt in delivery["attempts"]] == ["No connection could be made."] * 4


async def test_a_hanging_receiver_starves_nobody(
    client: httpx.AsyncClient, jobs: Jobs, subscribe: Subscribe, settings: Settings
) -> None:
    with receiving(None) as hanging, receiving() as lively:
        await subscribe(hanging, events=["job.started"])
        for _ in range(30):
            await jobs.start("medical.other")
        await until(hanging.has(settings.webhook_slots))
        await subscribe(lively, events=["job.started"], kinds=["medical.test"])
        began = len(hanging.received)
        await jobs.start("medical.test")
        await until(lively.has(1))
        # What waits for the hanging receiver is far from over when the other has its message.
        assert len(hanging.received) - began <= 4 * settings.webhook_slots
        assert (await client.get("/health/live")).status_code == 200


async def test_at_most_so_many_at_once(jobs: Jobs, subscribe: Subscribe, settings: Settings, connection: Any) -> None:
    with receiving(None) as hanging:
        webhook = await subscribe(hanging, events=["job.started"])
        for _ in range(20):
            await jobs.start()
        await until(hanging.has(2 * settings.webhook_slots))
        assert await connection.zcard(f"facet:webhook:{webhook['id']}:leased") <= settings.webhook_slots


async def test_rotation_signs_with_both_secrets_for_a_while(
    client: httpx.AsyncClient, subscribe: Subscribe, connection: Any
) -> None:
    with receiving() as receiver:
        webhook = await subscribe(receiver)
        path = f"/v1/webhooks/{webhook['id']}"
        rotated = await client.post(f"{path}/secret")
        new = rotated.json()["secret"]
        assert new != webhook["secret"]
        assert rotated.headers["cache-control"] == "private, no-store"
        await client.post(f"{path}/test")
        await until(receiver.has(1))
        overlapping = receiver.received[0]
        for secret in (webhook["secret"], new):
            Webhook(secret).verify(overlapping.body, overlapping.headers)
        # The time is over.
        await connection.hset(f"facet:webhook:{webhook['id']}", "old_secret_until", int(time.time() * 1000) - 1)
        await client.post(f"{path}/test")
        await until(receiver.has(2))
        later = receiver.received[1]
        Webhook(new).verify(later.body, later.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(webhook["secret"]).verify(later.body, later.headers)
        assert orjson.loads(later.body)["data"] == {"webhook_id": webhook["id"]}
