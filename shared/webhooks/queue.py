"""Deliveries as delivery workers see them: made of the outbox's lines, leased when due, settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from shared.jobs.connection import LONGEST_BLOCK_S, unavailable_without_redis
from shared.jobs.scripts import as_fields
from shared.settings import Settings
from shared.webhooks.records import DeliveryAttempt
from shared.webhooks.scripts import source

Outcome = Literal["delivered", "retry", "failed", "gone"]

_LINES = 100
_LOST = DeliveryAttempt(at=None, error="The gateway that was delivering it stopped; whether it arrived is not known.")
_FAILING = "Everything sent to it failed for too long."


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that this delivery worker alone works on until the lease ends."""

    delivery: Mapping[str, str]
    webhook: Mapping[str, str]

    @property
    def id(self) -> str:
        """Of the delivery."""
        return self.delivery["id"]

    @property
    def tried(self) -> int:
        """Tries since it was made or redelivered, this one included."""
        return int(self.delivery["attempt"]) - int(self.delivery["base"])


class DeliveryQueue:
    """What delivery workers of all gateways share.

    Args:
        redis: a client of `shared.jobs.connection.api_client`.
        settings: schedule, slots and retention.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._scripts = {name: redis.register_script(source(name)) for name in ("claim", "expand", "settle")}

    @property
    def lease_s(self) -> float:
        """Seconds after which a worker that was silent is taken for dead: a delivery's limit and time to settle."""
        return 2 * self._settings.webhook_timeout_s

    async def expand(self) -> int:
        """Make deliveries of waiting lines of the outbox.

        Returns:
            How many lines were read.
        """
        kept = self._settings.webhook_deliveries_kept
        read: int = await self._run("expand", _LINES, kept, self._settings.webhook_retention_s * 1000)
        return read

    async def claim(self, limit: int) -> tuple[float | None, list[Leased]]:
        """Lease what is due.

        Returns:
            Seconds until more is due, None if nothing waits; and what was leased.
        """
        wait_ms, *found = await self._run(
            "claim",
            limit,
            self._settings.webhook_slots,
            round(self.lease_s * 1000),
            len(self._settings.webhook_retry_schedule_s) + 1,
            _json(_LOST),
        )
        leased = [Leased(as_fields(delivery), as_fields(webhook)) for delivery, webhook in found]
        return (None if wait_ms < 0 else wait_ms / 1000), leased

    async def settle(self, leased: Leased, outcome: Outcome, attempt: DeliveryAttempt, *, delay_s: float = 0.0) -> str:
        """Write down how an attempt ended.

        Returns:
            "settled", "disabled" when the webhook now is, or "superseded" when another delivery worker has taken over.
        """
        said: str = await self._run(
            "settle",
            leased.id,
            leased.delivery["attempt"],
            outcome,
            round(delay_s * 1000),
            _json(attempt),
            self._settings.webhook_disable_after_s * 1000,
            _FAILING,
        )
        return said

    async def until_news(self) -> None:
        """Wait for a line in the outbox, for a few seconds at most."""
        with unavailable_without_redis():
            await self._redis.xread({"facet:outbox": "0-0"}, count=1, block=round(LONGEST_BLOCK_S * 1000))

    async def _run(self, script: str, *arguments: Any) -> Any:
        with unavailable_without_redis():
            return await self._scripts[script](args=arguments)


def _json(attempt: DeliveryAttempt) -> str:
    return orjson.dumps(asdict(attempt)).decode("utf-8")
