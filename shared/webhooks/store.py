"""Webhooks as their owner sees them: made, changed, tested, and what became of each delivery.

Secrets are kept as they are, since signing needs them: who can read Redis can sign.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from shared.jobs.connection import unavailable_without_redis
from shared.jobs.scripts import as_fields
from shared.problems import Conflict, NotFound, field_problem
from shared.request_context import current_context
from shared.settings import Settings
from shared.webhooks.events import TEST_EVENT
from shared.webhooks.records import Delivery, DeliveryStatus, Webhook
from shared.webhooks.scripts import source
from shared.webhooks.signing import new_secret

_WEBHOOK_ID = re.compile(r"wh_[0-9a-f]{24}")
_DELIVERY_ID = re.compile(r"msg_[0-9a-f]{22}")
_SCRIPTS = ("change", "create", "delete", "page", "redeliver", "rotate", "test")


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """One page of deliveries, newest first."""

    deliveries: list[Delivery]
    next_cursor: str | None


class WebhookStore:
    """Keeps webhooks. Every method answers NotFound for what is another owner's.

    Args:
        redis: a client of `shared.jobs.connection.api_client`.
        settings: limits and retention.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._scripts = {name: redis.register_script(source(name)) for name in _SCRIPTS}

    async def create(
        self, owner: str, *, url: str, events: tuple[str, ...], kinds: tuple[str, ...], description: str
    ) -> tuple[Webhook, str]:
        """Record a webhook whose URL the guard has checked.

        Returns:
            It and its secret, which is not readable afterwards.

        Raises:
            Conflict: the owner has as many as is allowed.
        """
        webhook_id, secret = f"wh_{secrets.token_hex(12)}", new_secret()
        fields = {"url": url, "events": _json(events), "kinds": _json(kinds), "description": description}
        limit = self._settings.webhook_limit
        if not await self._run("create", webhook_id, owner, limit, *_flat(fields | {"secret": secret})):
            raise Conflict(f"There may be {limit} webhooks at most. Delete one first.")
        return await self.get(webhook_id, owner=owner), secret

    async def list_webhooks(self, owner: str) -> list[Webhook]:
        """All of an owner, newest first."""
        with unavailable_without_redis():
            ids = cast("set[str]", await self._redis.smembers(f"facet:webhooks:of:{owner}"))
        found = [await self._hash(f"facet:webhook:{webhook_id}") for webhook_id in ids]
        webhooks = [Webhook.from_hash(fields) for fields in found if fields]
        return sorted(webhooks, key=lambda webhook: (webhook.created_at, webhook.id), reverse=True)

    async def get(self, webhook_id: str, *, owner: str) -> Webhook:
        """One webhook."""
        _require(_WEBHOOK_ID, webhook_id)
        fields = await self._hash(f"facet:webhook:{webhook_id}")
        if not fields or fields["owner"] != owner:
            raise _no_webhook()
        return Webhook.from_hash(fields)

    async def change(
        self, webhook_id: str, *, owner: str, enabled: bool | None, fields: Mapping[str, str | tuple[str, ...]]
    ) -> Webhook:
        """Change what is given. Disabling gives up what waits; enabling forgets why it was disabled."""
        _require(_WEBHOOK_ID, webhook_id)
        texts = {name: value if isinstance(value, str) else _json(value) for name, value in fields.items()}
        switch = "" if enabled is None else str(int(enabled))
        if not await self._run("change", webhook_id, owner, switch, *_flat(texts)):
            raise _no_webhook()
        return await self.get(webhook_id, owner=owner)

    async def delete(self, webhook_id: str, *, owner: str) -> None:
        """Forget a webhook and its deliveries."""
        _require(_WEBHOOK_ID, webhook_id)
        if not await self._run("delete", webhook_id, owner):
            raise _no_webhook()

    async def rotate(self, webhook_id: str, *, owner: str) -> tuple[str, datetime]:
        """Give it a new secret.

        Returns:
            The secret, and until when the one before signs beside it.
        """
        _require(_WEBHOOK_ID, webhook_id)
        secret = new_secret()
        until = await self._run("rotate", webhook_id, owner, secret, self._settings.webhook_secret_overlap_s * 1000)
        if not until:
            raise _no_webhook()
        return secret, datetime.fromtimestamp(until / 1000, tz=UTC)

    async def test(self, webhook_id: str, *, owner: str) -> Delivery:
        """Deliver a test event.

        Raises:
            Conflict: the webhook is disabled.
        """
        webhook = await self.get(webhook_id, owner=owner)
        context = current_context()
        fields = {"type": TEST_EVENT, "owner": owner, "traceparent": context.traceparent if context else ""}
        delivery_id = await self._run("test", webhook.id, *self._retention, *_flat(fields))
        if delivery_id is None:
            raise _disabled()
        return await self.delivery(webhook.id, delivery_id, owner=owner)

    async def deliveries(
        self,
        webhook_id: str,
        *,
        owner: str,
        status: DeliveryStatus | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> DeliveryPage:
        """A page of deliveries, newest first.

        Raises:
            UnprocessableContent: the cursor is none of ours.
        """
        webhook = await self.get(webhook_id, owner=owner)
        after = _decode_cursor(cursor) if cursor else ""
        following, *found = await self._run("page", webhook.id, after, limit, status or "")
        deliveries = [Delivery.from_hash(as_fields(flat)) for flat in found]
        return DeliveryPage(deliveries, _encode_cursor(following) if following else None)

    async def delivery(self, webhook_id: str, delivery_id: str, *, owner: str) -> Delivery:
        """One delivery with what was tried."""
        webhook = await self.get(webhook_id, owner=owner)
        _require(_DELIVERY_ID, delivery_id)
        fields = await self._hash(f"facet:delivery:{delivery_id}")
        with unavailable_without_redis():
            attempts = cast("list[str]", await self._redis.lrange(f"facet:delivery:{delivery_id}:attempts", 0, -1))
        if not fields or fields["webhook"] != webhook.id:
            raise NotFound("There is no delivery with this id.")
        return Delivery.from_hash(fields, tuple(attempts))

    async def redeliver(self, webhook_id: str, delivery_id: str, *, owner: str) -> Delivery:
        """Deliver once more, now, whatever became of it before.

        Raises:
            Conflict: the webhook is disabled.
        """
        delivery = await self.delivery(webhook_id, delivery_id, owner=owner)
        outcome = await self._run("redeliver", delivery.id, webhook_id, self._settings.webhook_retention_s * 1000)
        if outcome == "disabled":
            raise _disabled()
        return await self.delivery(webhook_id, delivery_id, owner=owner)

    @property
    def _retention(self) -> tuple[int, int]:
        return self._settings.webhook_deliveries_kept, self._settings.webhook_retention_s * 1000

    async def _hash(self, key: str) -> dict[str, str]:
        with unavailable_without_redis():
            return cast("dict[str, str]", await self._redis.hgetall(key))

    async def _run(self, script: str, *arguments: Any) -> Any:
        with unavailable_without_redis():
            return await self._scripts[script](args=arguments)


def _json(values: tuple[str, ...]) -> str:
    return orjson.dumps(values).decode("utf-8")


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [part for item in fields.items() for part in item]


def _require(pattern: re.Pattern[str], identifier: str) -> None:
    """Check an id before it gets near a key of Redis."""
    if not pattern.fullmatch(identifier):
        raise NotFound(f"There is no {'webhook' if pattern is _WEBHOOK_ID else 'delivery'} with this id.")


def _no_webhook() -> NotFound:
    return NotFound("There is no webhook with this id.")


def _disabled() -> Conflict:
    return Conflict('This webhook is disabled. Enable it first: PATCH it with {"enabled": true}.')


def _encode_cursor(delivery_id: str) -> str:
    return base64.urlsafe_b64encode(delivery_id.encode("ascii")).decode("ascii").rstrip("=")


def _decode_cursor(cursor: str) -> str:
    try:
        padding = "=" * (-len(cursor) % 4)
        delivery_id = base64.b64decode(cursor + padding, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        delivery_id = ""
    if not _DELIVERY_ID.fullmatch(delivery_id):
        raise field_problem("/query/cursor", "This is no cursor. Take it from the Link header of the page before.")
    return delivery_id
