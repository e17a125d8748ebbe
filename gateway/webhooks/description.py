"""The messages to receivers, for the `webhooks` section of the OpenAPI document (OpenAPI 3.1, section 4.8.1)."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header

from gateway.webhooks.schemas import JobMessage, WebhookTest
from shared.webhooks.events import TEST_EVENT, WebhookEvent

MESSAGES_TAG: Final = "messages"
"""Not the tag of the routes: generators of clients write one file for each."""

_ANSWERS: dict[int | str, dict[str, Any]] = {
    "2XX": {"description": "Received. Answer before working on it: all else than a whole 2xx answer in time fails"},
    "410": {"description": "No more, please: the webhook is disabled"},
    "default": {"description": "Tried again later, redirects too; `Retry-After` is honoured"},
}

MessageId = Annotated[str, Header(alias="webhook-id", description="The same at each try: the key to drop repetitions")]
Timestamp = Annotated[int, Header(alias="webhook-timestamp", description="Time of this try, seconds since the epoch")]
Signature = Annotated[
    str,
    Header(
        alias="webhook-signature",
        description="`v1,` and base64 of the HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`; parted by "
        "spaces, one of each secret in use",
    ),
]

_SUMMARIES = {
    WebhookEvent.STARTED: "A job was started",
    WebhookEvent.SUCCEEDED: "A job succeeded",
    WebhookEvent.FAILED: "A job failed",
    WebhookEvent.CANCELLED: "A job was cancelled",
    WebhookEvent.EXPIRED: "A job waited too long for a worker",
}


async def _job_event(message: JobMessage, message_id: MessageId, timestamp: Timestamp, signature: Signature) -> None:
    """Posted to webhooks that ask for it. It links to the job and holds no results."""


async def _test(message: WebhookTest, message_id: MessageId, timestamp: Timestamp, signature: Signature) -> None:
    """Posted to a webhook when its owner tests it."""


def describe_messages(webhooks: APIRouter) -> None:
    """Add the messages to an application's `webhooks`."""
    for event, summary in _SUMMARIES.items():
        webhooks.add_api_route(
            event.value,
            _job_event,
            methods=["POST"],
            summary=summary,
            tags=[MESSAGES_TAG],
            operation_id=f"messages.{event.value}",
            responses=dict(_ANSWERS),
            status_code=204,
        )
    webhooks.add_api_route(
        TEST_EVENT,
        _test,
        methods=["POST"],
        summary="A test",
        tags=[MESSAGES_TAG],
        operation_id="messages.webhook.test",
        responses=dict(_ANSWERS),
        status_code=204,
    )
