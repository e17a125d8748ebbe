"""Webhooks in the gateway's document, and a delivery worker without a Redis."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from gateway.app import create_app
from gateway.webhooks.schemas import JobMessage, WebhookTest
from shared.webhooks.events import TEST_EVENT, WebhookEvent, message
from tests.support.serving import running
from tests.unit.gateway.stubs import settings

FIELDS = {"webhook": "wh_1", "at": "1754300000123", "job_id": "the-id", "kind": "medical.test"}


def test_every_message_is_described() -> None:
    described = create_app(settings()).openapi()["webhooks"]
    assert set(described) == {*WebhookEvent, TEST_EVENT}
    for name, item in described.items():
        operation = item["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert schema == ("WebhookTest" if name == TEST_EVENT else "JobMessage")
        headers = {parameter["name"] for parameter in operation["parameters"]}
        assert headers == {"webhook-id", "webhook-timestamp", "webhook-signature"}
        assert {"2XX", "410", "default"} <= set(operation["responses"])


@pytest.mark.parametrize("event", [*WebhookEvent, TEST_EVENT])
def test_messages_are_as_described(event: str) -> None:
    content = message(FIELDS | {"type": event}, public_url="")
    schema = WebhookTest if event == TEST_EVENT else JobMessage
    read, sent = schema.model_validate_json(content).model_dump(mode="json"), orjson.loads(content)
    assert set(read) == set(sent)
    assert (read["type"], read["data"]) == (sent["type"], sent["data"])


async def test_without_redis_the_gateway_starts_answers_and_stops() -> None:
    async with asyncio.timeout(20), running(create_app(settings())) as client:
        assert (await client.get("/health/live")).status_code == 200
        wanted = {"url": "https://93.184.216.34/", "events": ["job.failed"]}
        for answer in (await client.get("/v1/webhooks"), await client.post("/v1/webhooks", json=wanted)):
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
