"""The message of a delivery."""

from __future__ import annotations

import orjson
import pytest

from shared.webhooks.events import WebhookEvent, message

FIELDS = {"webhook": "wh_1", "type": "job.succeeded", "at": "1754300000123", "job_id": "the-id", "kind": "medical.test"}


def test_a_message_names_the_job_and_links_to_it() -> None:
    assert orjson.loads(message(FIELDS, public_url="https://facet.example/")) == {
        "type": "job.succeeded",
        "timestamp": "2025-08-04T09:33:20.123Z",
        "data": {
            "id": "the-id",
            "kind": "medical.test",
            "status": "succeeded",
            "links": {
                "self": "https://facet.example/v1/jobs/the-id",
                "events": "https://facet.example/v1/jobs/the-id/events",
                "result": "https://facet.example/v1/jobs/the-id/result",
            },
        },
    }


@pytest.mark.parametrize("event", [event for event in WebhookEvent if event is not WebhookEvent.SUCCEEDED])
def test_only_a_success_has_a_result(event: WebhookEvent) -> None:
    data = orjson.loads(message(FIELDS | {"type": event}, public_url=""))["data"]
    assert data["links"] == {"self": "/v1/jobs/the-id", "events": "/v1/jobs/the-id/events", "result": None}
    assert data["status"] == ("running" if event is WebhookEvent.STARTED else event.removeprefix("job."))


def test_a_test_names_the_webhook() -> None:
    content = orjson.loads(message(FIELDS | {"type": "webhook.test"}, public_url=""))
    assert content["data"] == {"webhook_id": "wh_1"}
