"""Webhooks as Prometheus sees them. The numbers live in Redis, so any one gateway exposes those of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.settings import Settings

_TIMEOUT_S = 0.5


class WebhookMetrics(Collector):
    """Asks Redis at each scrape; without an answer in half a second there are no webhook metrics in it.

    - `facet_webhook_attempts_total{outcome}`: delivered, retry, failed (given up) or gone (410)
    - `facet_webhook_outbox_lines`: changes of jobs that no worker has read; more than a few mean that none runs
    - `facet_webhooks_waiting`: webhooks to which something waits to be delivered

    Args:
        client: a synchronous client with short timeouts.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def describe(self) -> list[Metric]:
        """Nothing is known before a scrape; this keeps registration from making one."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the numbers."""
        try:
            counts: Any = self._redis.hgetall("facet:webhooks:counts")
            lines: Any = self._redis.xlen("facet:outbox")
            waiting: Any = self._redis.zcard("facet:webhooks:due")
        except redis.RedisError:
            return
        attempts = CounterMetricFamily("facet_webhook_attempts", "Tries to deliver", labels=("outcome",))
        for outcome, count in counts.items():
            attempts.add_metric((outcome,), int(count))
        yield attempts
        yield GaugeMetricFamily("facet_webhook_outbox_lines", "Changes of jobs not yet read", value=lines)
        yield GaugeMetricFamily("facet_webhooks_waiting", "Webhooks with something to deliver", value=waiting)


def register_webhook_metrics(registry: CollectorRegistry, settings: Settings) -> None:
    """Expose the webhook metrics through a registry."""
    client = redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        protocol=2,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
    )
    registry.register(WebhookMetrics(client))
