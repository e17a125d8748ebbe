"""Delivers: a task of every gateway that takes due deliveries, posts each and settles it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from shared.problems import ServiceUnavailable
from shared.request_context import new_context
from shared.settings import Settings
from shared.telemetry import tracing
from shared.telemetry.spans import record_delivery
from shared.webhooks.events import message
from shared.webhooks.queue import DeliveryQueue, Leased, Outcome
from shared.webhooks.schedule import delay_s
from shared.webhooks.sender import Message, Sender, Sent

_PAUSE_S = 1.0
_GRACE_S = 3.0
_AGAIN_S = 0.2

_logger = logging.getLogger(__name__)


class DeliveryWorker:
    """Works until its gateway stops. What is under way then has a moment to end; what does not, and all that a killed
    gateway was doing, is delivered again by another once the lease is over.

    Args:
        queue: shared with the delivery workers of other gateways.
        sender: posts.
        settings: schedule of retries and how much at once.
    """

    def __init__(self, queue: DeliveryQueue, sender: Sender, settings: Settings) -> None:
        self._queue = queue
        self._sender = sender
        self._settings = settings
        self._under_way: set[asyncio.Task[None]] = set()
        self._news: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work in the background of what runs inside."""
        task = asyncio.create_task(self._work(), name="webhook delivery worker")
        try:
            yield
        finally:
            await _end(task, *([self._news] if self._news else []))
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=_GRACE_S)
            await _end(*self._under_way)

    async def _work(self) -> None:
        answers = True
        while True:
            try:
                await self._round()
                answers = True
            except ServiceUnavailable:
                if answers:
                    _logger.warning("the delivery worker of webhooks waits for Redis")
                answers = False
                await asyncio.sleep(_PAUSE_S)
            except Exception:  # whatever it is, deliveries go on
                _logger.exception("the delivery worker of webhooks stumbled")
                await asyncio.sleep(_PAUSE_S)

    async def _round(self) -> None:
        """Start what is due, then wait for news, for an end of a delivery, or for the next to become due."""
        while await self._queue.expand():
            pass
        wait_s: float | None = None
        free = self._settings.webhook_concurrency - len(self._under_way)
        if free > 0:
            wait_s, due = await self._queue.claim(free)
            for leased in due:
                task = asyncio.create_task(self._deliver(leased))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        if self._news is None:
            self._news = asyncio.create_task(self._queue.until_news())
        await asyncio.wait({self._news, *self._under_way}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        if self._news.done():
            news, self._news = self._news, None
            await news

    async def _deliver(self, leased: Leased) -> None:
        began = time.monotonic()
        try:
            sent = await self._send(leased)
            outcome, pause_s = self._judge(leased, sent)
            await self._settle(leased, outcome, sent, pause_s, until=began + self._queue.lease_s)
        except Exception:  # the lease ends and it is tried again
            _logger.exception("a delivery stumbled", extra={"delivery": leased.id})

    async def _send(self, leased: Leased) -> Sent:
        posted, began_ns = self._message(leased), time.time_ns()
        sent = await self._sender.send(posted)
        if tracing.active is not None:
            record_delivery(
                parent=leased.delivery.get("traceparent"),
                sent_as=posted.traceparent,
                webhook=leased.delivery["webhook"],
                attempt=leased.tried,
                began_ns=began_ns,
                status=sent.attempt.status_code,
            )
        return sent

    def _message(self, leased: Leased) -> Message:
        delivery, webhook = leased.delivery, leased.webhook
        secrets = [webhook["secret"]]
        if int(webhook.get("old_secret_until", 0)) > time.time() * 1000:
            secrets.append(webhook["old_secret"])
        # A span of its own in the trace of the job.
        context = new_context(traceparent=delivery.get("traceparent"), tracestate=delivery.get("tracestate"))
        return Message(
            id=leased.id,
            url=webhook["url"],
            body=message(delivery, public_url=self._settings.public_url),
            secrets=secrets,
            traceparent=context.traceparent,
            tracestate=context.tracestate,
        )

    def _judge(self, leased: Leased, sent: Sent) -> tuple[Outcome, float]:
        """What an attempt means for its delivery, and the pause in seconds before the next."""
        if sent.is_delivered:
            return "delivered", 0.0
        if sent.is_gone:
            return "gone", 0.0
        pause_s = delay_s(self._settings.webhook_retry_schedule_s, leased.tried, retry_after_s=sent.retry_after_s)
        return ("failed", 0.0) if pause_s is None else ("retry", pause_s)

    async def _settle(self, leased: Leased, outcome: Outcome, sent: Sent, pause_s: float, *, until: float) -> None:
        """Settle, through a short absence of Redis; after the end of the lease another delivery worker has it."""
        said = "unsettled"
        while said == "unsettled" and time.monotonic() < until:
            with suppress(ServiceUnavailable):
                said = await self._queue.settle(leased, outcome, sent.attempt, delay_s=pause_s)
            if said == "unsettled":
                await asyncio.sleep(_PAUSE_S)
        _logger.info(
            "webhook delivery",
            extra={
                "delivery": leased.id,
                "webhook": leased.delivery["webhook"],
                "outcome": outcome,
                "settled": said,
                "status_code": sent.attempt.status_code,
                "attempt": leased.tried,
            },
        )


async def _end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks until they have ended: a cancellation that arrives while a connection is made can get lost."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
        await asyncio.gather(*done, return_exceptions=True)
