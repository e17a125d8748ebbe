"""What is known of webhooks and their deliveries, read from their hashes in Redis. Times are in UTC by Redis' clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

ANSWER_KEPT = 2048
"""Characters of a receiver's answer that are kept."""


class DeliveryStatus(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One webhook, without its secrets."""

    id: str
    owner: str
    url: str
    events: tuple[str, ...]
    kinds: tuple[str, ...]
    """Kinds of jobs that it asks for; all where empty."""
    description: str
    enabled: bool
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    """When the first failure after the last success was."""
    old_secret_until: datetime | None
    """Until when the secret before the last rotation signs as well."""

    @classmethod
    def from_hash(cls, fields: Mapping[str, str]) -> Webhook:
        """Read a webhook's hash."""
        return cls(
            id=fields["id"],
            owner=fields["owner"],
            url=fields["url"],
            events=tuple(orjson.loads(fields["events"])),
            kinds=tuple(orjson.loads(fields["kinds"])),
            description=fields["description"],
            enabled=fields["enabled"] == "1",
            created_at=_instant(fields["created_at"]),
            disabled_at=_maybe_instant(fields.get("disabled_at")),
            disabled_reason=fields.get("disabled_reason"),
            failing_since=_maybe_instant(fields.get("failing_since")),
            old_secret_until=_maybe_instant(fields.get("old_secret_until")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """One try to deliver. Members are JSON as kept."""

    at: str | None
    """When it began, ISO 8601; None of a delivery worker that was lost."""
    duration_ms: int | None = None
    status_code: int | None = None
    error: str | None = None
    """Why there is no status code, or why the answer is none that counts."""
    answer: str | None = None
    """The first `ANSWER_KEPT` characters of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one webhook."""

    id: str
    """Also the `webhook-id` of the message, the same at each try."""
    webhook: str
    event: str
    job_id: str | None
    status: DeliveryStatus
    attempt: int
    """Tries so far, the one under way included."""
    created_at: datetime
    next_at: datetime | None
    """When the next try is due."""
    finished_at: datetime | None
    attempts: tuple[DeliveryAttempt, ...] = ()
    """The tries; read only with a single delivery."""

    @classmethod
    def from_hash(cls, fields: Mapping[str, str], attempts: tuple[str, ...] = ()) -> Delivery:
        """Read a delivery's hash and list of attempts."""
        return cls(
            id=fields["id"],
            webhook=fields["webhook"],
            event=fields["type"],
            job_id=fields.get("job_id"),
            status=DeliveryStatus(fields["status"]),
            attempt=int(fields["attempt"]),
            created_at=_instant(fields["created_at"]),
            next_at=_maybe_instant(fields.get("next_at")),
            finished_at=_maybe_instant(fields.get("finished_at")),
            attempts=tuple(DeliveryAttempt(**_members(text)) for text in attempts),
        )


def _members(text: str) -> dict[str, Any]:
    members: dict[str, Any] = orjson.loads(text)
    return members


def _instant(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, tz=UTC)


def _maybe_instant(milliseconds: str | None) -> datetime | None:
    return _instant(milliseconds) if milliseconds else None
