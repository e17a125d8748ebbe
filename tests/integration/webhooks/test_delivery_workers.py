"""Delivery workers that share the work, die, and meet names that change their addresses."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, closing
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpx
import pytest
import redis
from redis.asyncio import Redis

from gateway.app import create_app
from shared.settings import Settings
from shared.webhooks.addresses import IPAddress
from shared.webhooks.queue import DeliveryQueue
from shared.webhooks.records import DeliveryAttempt
from shared.webhooks.sender import Message, Sender
from shared.webhooks.signing import new_secret
from shared.webhooks.ssrf_guard import SsrfGuard
from shared.webhooks.store import WebhookStore
from tests.integration.conftest import free_port
from tests.integration.gateway.servers import serve
from tests.integration.webhooks.conftest import ALL, Jobs, Subscribe, delivery_when, until
from tests.integration.webhooks.receivers import TAKEN, receiving
from tests.support.serving import running

ROOT = Path(__file__).parents[3]


def start_gateway(settings: Settings) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "FACET_REDIS_URL": settings.redis_url,
        "FACET_BLOB_URL": settings.blob_url,
        "FACET_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "FACET_WEBHOOK_TIMEOUT_S": "2",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "gateway.app:create_app", "--port", str(free_port())]
    return subprocess.Popen(command, cwd=ROOT, env=environment)


async def test_a_message_of_a_killed_gateway_is_delivered_by_the_next(
    settings: Settings, webhooks: WebhookStore, jobs: Jobs
) -> None:
    with receiving(None, TAKEN) as receiver:
        webhook, _ = await webhooks.create(
            "anonymous", url=receiver.url, events=("job.started",), kinds=(), description=""
        )
        first = start_gateway(settings)
        await jobs.start()
        await until(receiver.has(1))
        os.kill(first.pid, signal.SIGKILL)  # in the middle of the delivery
        first.wait()
        with serve(create_app(settings)) as url:
            async with httpx.AsyncClient(base_url=url) as client:
                delivery = await delivery_when(
                    client, {"id": webhook.id}, lambda found: bool(found["status"] == "delivered")
                )
    lost, taken = delivery["attempts"]
    assert (lost["at"], lost["status_code"]) == (None, None)
    assert "stopped" in lost["error"]
    assert taken["status_code"] == 204
    one, two = receiver.received
    assert one.headers["webhook-id"] == two.headers["webhook-id"]
    assert one.body == two.body


async def test_several_gateways_deliver_each_message_once(
    settings: Settings, webhooks: WebhookStore, jobs: Jobs
) -> None:
    with ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        await webhooks.create("anonymous", url=receiver.url, events=tuple(ALL), kinds=(), description="")
        for _ in range(3):
            stack.enter_context(serve(create_app(settings)))
        for _ in range(20):
            (await jobs.start()).succeed({})
        await until(receiver.has(40))
        await asyncio.sleep(0.3)
    assert len(receiver.received) == 40
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 40


async def test_delivery_workers_outlive_their_connections(jobs: Jobs, subscribe: Subscribe, settings: Settings) -> None:
    with receiving() as receiver, redis.Redis.from_url(settings.redis_url) as plain:
        await subscribe(receiver, events=["job.started"])
        await jobs.start()
        await until(receiver.has(1))
        plain.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await jobs.start()
        await until(receiver.has(2))


async def test_days_of_failure_disable_a_webhook(
    client: httpx.AsyncClient, subscribe: Subscribe, connection: Redis, settings: Settings
) -> None:
    with receiving((500, {}, b"")) as receiver:
        webhook = await subscribe(receiver)
        path = f"/v1/webhooks/{webhook['id']}"
        await connection.hset(f"facet:webhook:{webhook['id']}", "failing_since", "1700000000000")
        await client.post(f"{path}/test")
        delivery = await delivery_when(client, webhook, lambda found: bool(found["status"] == "failed"))
        state = (await client.get(path)).json()
    assert len(delivery["attempts"]) == 1
    assert (state["enabled"], state["disabled_reason"]) == (False, "Everything sent to it failed for too long.")
    assert await connection.zcard("facet:webhooks:due") == 0


async def test_a_late_worker_cannot_settle(settings: Settings, webhooks: WebhookStore, connection: Redis) -> None:
    queue = DeliveryQueue(connection, settings.model_copy(update={"webhook_timeout_s": 0.05}))
    webhook, _ = await webhooks.create("me", url="https://93.184.216.34", events=tuple(ALL), kinds=(), description="")
    delivery = await webhooks.test(webhook.id, owner="me")
    _, [slow] = await queue.claim(10)
    wait_s, others = await queue.claim(10)
    assert wait_s is not None
    assert 0 <= wait_s <= queue.lease_s
    assert others == []
    await asyncio.sleep(2.5 * queue.lease_s)
    _, [second] = await queue.claim(10)
    assert (slow.id, second.id) == (delivery.id, delivery.id)
    attempt = DeliveryAttempt(at=None, status_code=500)
    assert await queue.settle(slow, "failed", attempt) == "superseded"
    assert (await webhooks.delivery(webhook.id, delivery.id, owner="me")).status == "pending"
    assert await queue.settle(second, "delivered", attempt) == "settled"
    assert await queue.settle(second, "failed", attempt) == "superseded"
    assert (await webhooks.delivery(webhook.id, delivery.id, owner="me")).status == "delivered"


async def test_lines_of_the_outbox_are_read_once(
    settings: Settings, webhooks: WebhookStore, connection: Redis, jobs: Jobs
) -> None:
    queue = DeliveryQueue(connection, settings)
    made = [
        await webhooks.create("anonymous", url="https://93.184.216.34", events=tuple(ALL), kinds=(), description="")
        for _ in range(2)
    ]
    for _ in range(10):
        await jobs.start()
    read = await asyncio.gather(*(queue.expand() for _ in range(5)))
    assert sum(read) == 10
    for webhook, _ in made:
        page = await webhooks.deliveries(webhook.id, owner="anonymous", limit=100)
        assert len({delivery.job_id for delivery in page.deliveries}) == len(page.deliveries) == 10


@pytest.mark.parametrize("limit", [{"webhook_deliveries_kept": 3}, {"webhook_retention_s": 1}])
async def test_old_deliveries_are_forgotten(settings: Settings, connection: Redis, limit: dict[str, int]) -> None:
    webhooks = WebhookStore(connection, settings.model_copy(update=limit))
    webhook, _ = await webhooks.create("me", url="https://93.184.216.34", events=tuple(ALL), kinds=(), description="")
    made = [(await webhooks.test(webhook.id, owner="me")).id for _ in range(5)]
    if "webhook_retention_s" in limit:
        await asyncio.sleep(1.1)
    made.append((await webhooks.test(webhook.id, owner="me")).id)
    kept = made[-limit.get("webhook_deliveries_kept", 1) :]
    page = await webhooks.deliveries(webhook.id, owner="me", limit=100)
    assert [delivery.id for delivery in page.deliveries] == kept[::-1]
    for key in ("deliveries", "waiting"):
        assert await connection.zcard(f"facet:webhook:{webhook.id}:{key}") == len(kept)
    assert len(await connection.keys("facet:delivery:*")) == len(kept)


class ChangingName:
    """A name server that says something else each time."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def __call__(self, host: str) -> list[IPAddress]:
        return [ip_address(self.answers.pop(0))]


def message(url: str) -> Message:
    return Message(id="msg_1", url=url, body=b"{}", secrets=[new_secret()])


async def test_a_name_that_turns_inward_after_its_check_is_not_connected_to() -> None:
    with receiving() as receiver:
        port = receiver.url.split(":")[2].partition("/")[0]
        url = f"http://receiver.example:{port}/"
        # 127.0.0.2 is allowed, where nobody listens; the receiver at 127.0.0.1 is the inside.
        guard = SsrfGuard(ChangingName("127.0.0.2", "127.0.0.1", "127.0.0.2"), (ip_network("127.0.0.2/32"),))
        sender = Sender(guard, timeout_s=5, version="0")
        await guard.check(url)
        refused = await sender.send(message(url))
        unanswered = await sender.send(message(url))
    assert receiver.received == []
    assert "operator allows" in (refused.attempt.error or "")
    assert unanswered.attempt.error == "No connection could be made."


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver, receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        guard = SsrfGuard(ChangingName("127.0.0.1"), (ip_network("127.0.0.0/8"),))
        sent = await Sender(guard, timeout_s=5, version="0").send(message(receiver.url))
    assert sent.is_delivered
    assert (len(receiver.received), proxy.received) == (1, [])


async def test_a_gateway_that_stops_ends_what_it_was_delivering(
    settings: Settings, webhooks: WebhookStore, jobs: Jobs
) -> None:
    taken_late = asyncio.Event()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        taken_late.set()
        await asyncio.sleep(0.5)
        with closing(writer):
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()

    server = await asyncio.start_server(slowly, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    webhook, _ = await webhooks.create("anonymous", url=url, events=("job.started",), kinds=(), description="")
    async with running(create_app(settings)):
        await jobs.start()
        await taken_late.wait()
    page = await webhooks.deliveries(webhook.id, owner="anonymous")
    assert [(delivery.status, delivery.attempt) for delivery in page.deliveries] == [("delivered", 1)]
    server.close()
