"""What webhooks tell: types of events and the message, which names a job and links to it but holds no results."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson


class WebhookEvent(StrEnum):
    """What a webhook can ask for. That a job is queued is no event: the answer that created it said so."""

    STARTED = "job.started"
    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"
    EXPIRED = "job.expired"


TEST_EVENT = "webhook.test"
"""Sent when the owner asks for it, whatever the webhook's filter."""

_STATUS = {WebhookEvent.STARTED: "running"}


def message(fields: Mapping[str, str], *, public_url: str) -> bytes:
    """The body of a delivery, the same at each attempt, far below the 20 kB of the specification.

    Args:
        fields: hash of the delivery.
        public_url: goes before the paths of links; may be empty.
    """
    at = datetime.fromtimestamp(int(fields["at"]) / 1000, tz=UTC)
    content = {
        "type": fields["type"],
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": _data(fields, public_url.rstrip("/")),
    }
    return orjson.dumps(content)


def _data(fields: Mapping[str, str], base: str) -> dict[str, Any]:
    if fields["type"] == TEST_EVENT:
        return {"webhook_id": fields["webhook"]}
    event = WebhookEvent(fields["type"])
    path = f"{base}/v1/jobs/{fields['job_id']}"
    return {
        "id": fields["job_id"],
        "kind": fields["kind"],
        "status": _STATUS.get(event, event.value.removeprefix("job.")),
        "links": {
            "self": path,
            "events": f"{path}/events",
            "result": f"{path}/result" if event is WebhookEvent.SUCCEEDED else None,
        },
    }
