"""Webhooks and deliveries as callers see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from shared.request_context import public_path
from shared.webhooks.events import TEST_EVENT, WebhookEvent
from shared.webhooks.records import ANSWER_KEPT, Delivery, DeliveryAttempt, DeliveryStatus, Webhook
from shared.webhooks.ssrf_guard import URL_LIMIT

_URL = "https://receiver.example/facet"
_JOB = "/v1/jobs/019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="  # noqa: S105 (the specification's, lengthened)

Url = Annotated[
    str,
    Field(
        max_length=URL_LIMIT,
        description="Where to post: https, without user name, at public addresses, on port 443 or one from 1024",
        examples=[_URL],
    ),
]
Events = Annotated[
    list[WebhookEvent],
    Field(min_length=1, max_length=20, description="What to be told of", examples=[["job.succeeded", "job.failed"]]),
]
Kind = Annotated[str, Field(min_length=1, max_length=100)]
Kinds = Annotated[
    list[Kind],
    Field(
        max_length=50,
        description="Only of these kinds of jobs; of all where empty",
        examples=[["medical.ct.enhancements"]],
    ),
]
Description = Annotated[str, Field(max_length=200, description="For people", examples=["The archive of ward 3"])]


class NewWebhook(BaseModel):
    """A webhook to be made."""

    model_config = ConfigDict(extra="forbid")

    url: Url
    events: Events
    kinds: Kinds = []
    description: Description = ""


class WebhookChange(BaseModel):
    """What is to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    url: Url | None = Field(default=None, description="Another address; null: as it is")
    events: Events | None = Field(default=None, description="Other events; null: as they are")
    kinds: Kinds | None = Field(default=None, description="Other kinds of jobs; null: as they are")
    description: Description | None = Field(default=None, description="Another description; null: as it is")
    enabled: bool | None = Field(
        default=None, description="False gives up what waits; true starts anew with what comes", examples=[True]
    )


class WebhookLinks(BaseModel):
    """Where to go from here; paths of the gateway."""

    self: str = Field(description="The webhook itself", examples=["/v1/webhooks/wh_5d0a1c2b3d4e5f6071829304"])
    deliveries: str = Field(
        description="What was sent, and how that went", examples=["/v1/webhooks/wh_5d0a1c2b3d4e5f6071829304/deliveries"]
    )
    test: str = Field(description="POST to it", examples=["/v1/webhooks/wh_5d0a1c2b3d4e5f6071829304/test"])
    secret: str = Field(
        description="POST to it for a new one", examples=["/v1/webhooks/wh_5d0a1c2b3d4e5f6071829304/secret"]
    )


class WebhookView(BaseModel):
    """A webhook."""

    id: str = Field(description="Its id", examples=["wh_5d0a1c2b3d4e5f6071829304"])
    url: str = Field(description="Where messages go", examples=[_URL])
    events: list[WebhookEvent] = Field(description="Which events are sent")
    kinds: list[str] = Field(description="All kinds of jobs where empty", examples=[[]])
    description: str = Field(description="What it is for, as posted")
    enabled: bool = Field(description="Whether messages are sent")
    created_at: datetime = Field(description="When it was created, UTC")
    disabled_at: datetime | None = Field(description="When it was disabled, UTC; null: it is not", examples=[None])
    disabled_reason: str | None = Field(description="Why, if it is disabled", examples=[None])
    failing_since: datetime | None = Field(
        description="First failure since anything was delivered; after days of them the webhook is disabled",
        examples=[None],
    )
    old_secret_until: datetime | None = Field(
        description="Until when the secret before the last rotation signs as well", examples=[None]
    )
    links: WebhookLinks = Field(description="Where to go from here")

    @classmethod
    def of(cls, webhook: Webhook) -> Self:
        """The view of a webhook."""
        path = public_path(webhook_path(webhook.id))
        links = WebhookLinks(self=path, deliveries=f"{path}/deliveries", test=f"{path}/test", secret=f"{path}/secret")
        return cls(**{name: getattr(webhook, name) for name in cls.model_fields if name in _SHARED}, links=links)


_SHARED = set(Webhook.__slots__)


class CreatedWebhook(WebhookView):
    """A webhook with its secret, which is shown this once."""

    secret: str = Field(description="Keep it: messages are verified with it", examples=[_SECRET])

    @classmethod
    def with_secret(cls, webhook: Webhook, secret: str) -> Self:
        """The view of a new webhook."""
        return cls(**WebhookView.of(webhook).model_dump(), secret=secret)


class WebhookList(BaseModel):
    """All webhooks of the caller, newest first."""

    webhooks: list[WebhookView] = Field(description="Yours, newest first")


class NewSecret(BaseModel):
    """A secret that replaces the one before."""

    secret: str = Field(description="Shown this once", examples=[_SECRET])
    old_secret_until: datetime = Field(description="Until then messages carry a signature by each of the two")


class DeliveryAttemptView(BaseModel):
    """One try to deliver."""

    at: datetime | None = Field(description="When it began; null if the gateway was lost that tried")
    duration_ms: int | None = Field(
        description="Milliseconds until there was an answer, or none; null: not known", examples=[84]
    )
    status_code: int | None = Field(description="Of the answer, if there was a whole one", examples=[503])
    error: str | None = Field(description="What went wrong besides the status", examples=[None])
    answer: str | None = Field(description=f"First {ANSWER_KEPT} characters of the answer", examples=["busy"])

    @classmethod
    def of(cls, attempt: DeliveryAttempt) -> Self:
        """The view of an attempt."""
        return cls.model_validate(attempt, from_attributes=True)


class DeliveryView(BaseModel):
    """One message to one webhook."""

    id: str = Field(description="Also its `webhook-id`, the same at each try", examples=["msg_019878a15b1f0000000017"])
    event: WebhookEvent | Literal["webhook.test"] = Field(description="What is told", examples=["job.succeeded"])
    job_id: str | None = Field(description="Null for a test", examples=[_JOB.rpartition("/")[2]])
    status: DeliveryStatus = Field(description="`failed`: given up")
    attempt: int = Field(description="Tries so far", examples=[1])
    created_at: datetime = Field(description="When it happened, UTC")
    next_at: datetime | None = Field(description="When it is tried next", examples=[None])
    finished_at: datetime | None = Field(description="When it was delivered or given up, UTC; null: neither yet")

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """The view of a delivery."""
        return cls.model_validate(delivery, from_attributes=True)


class DeliveryWithAttempts(DeliveryView):
    """One message to one webhook, and how it went."""

    attempts: list[DeliveryAttemptView] = Field(description="The newest 50, oldest first")


class DeliveryList(BaseModel):
    """One page of deliveries, newest first."""

    deliveries: list[DeliveryView] = Field(description="Newest first")
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last one", examples=[None])


class JobMessageLinks(BaseModel):
    """Where to read on; whole URLs if the operator has set the gateway's public address, else paths."""

    self: str = Field(description="The job itself", examples=[_JOB])
    events: str = Field(description="Its Server-Sent Events", examples=[f"{_JOB}/events"])
    result: str | None = Field(description="Once succeeded", examples=[f"{_JOB}/result"])


class JobMessageData(BaseModel):
    """The job; results are read from its links."""

    id: str = Field(description="Id of the job", examples=[_JOB.rpartition("/")[2]])
    kind: str = Field(description="What kind of job it is", examples=["medical.ct.enhancement-series"])
    status: Literal["running", "succeeded", "failed", "cancelled", "expired"] = Field(
        description="Where it stands now", examples=["succeeded"]
    )
    links: JobMessageLinks = Field(description="Where to go from here")


class JobMessage(BaseModel):
    """What a receiver gets of a job."""

    type: WebhookEvent = Field(description="What happened", examples=["job.succeeded"])
    timestamp: datetime = Field(description="When it happened")
    data: JobMessageData = Field(description="Of which job")


class WebhookTestData(BaseModel):
    """Which webhook was tested."""

    webhook_id: str = Field(description="The webhook that is tested", examples=["wh_5d0a1c2b3d4e5f6071829304"])


class WebhookTest(BaseModel):
    """What a receiver gets of a test."""

    type: Literal["webhook.test"] = Field(description="Always the test", examples=[TEST_EVENT])
    timestamp: datetime = Field(description="When it was asked for")
    data: WebhookTestData = Field(description="Of which webhook")


def webhook_path(webhook_id: str) -> str:
    """Where the gateway serves a webhook."""
    return f"/v1/webhooks/{webhook_id}"
