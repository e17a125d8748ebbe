"""Jobs as Prometheus sees them. The numbers live in Redis, so any one process (the gateway) can expose all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.jobs.scripts import source
from shared.settings import Settings

_TIMEOUT_S = 0.5


class JobMetrics(Collector):
    """Asks Redis at each scrape; without an answer in half a second there are no job metrics in it.

    - `facet_jobs_total{kind,status}`: jobs that ended, by how
    - `facet_jobs_waiting{queue}`: jobs that no worker has started (scale on this)
    - `facet_jobs_oldest_wait_seconds{queue}`: age of the job that is next
    - `facet_jobs_running`: jobs that an attempt holds the lease of
    - `facet_jobs_dead`: dead letters, which wait for an operator (alert on this)
    - `facet_job_workers{queue}`: workers that read the queue

    Args:
        client: a synchronous client with short timeouts.
        settings: after how long a worker counts as gone.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._gone_after_ms = round(settings.worker_gone_after_s * 1000)
        self._script = client.register_script(source("gauges"))

    def describe(self) -> list[Metric]:
        """Nothing is known before a scrape; this keeps registration from making one."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the numbers."""
        try:
            counts: Any = self._redis.hgetall("facet:counts")
            running: Any = self._redis.zcard("facet:leases")
            dead: Any = self._redis.zcard("facet:dead")
            rows: Any = self._script(args=[self._gone_after_ms])
        except redis.RedisError:
            return
        yield _ended(counts)
        yield GaugeMetricFamily("facet_jobs_running", "Jobs being worked on", value=running)
        yield GaugeMetricFamily("facet_jobs_dead", "Jobs that were given up", value=dead)
        yield from _queues(rows)


def _ended(counts: dict[str, str]) -> Metric:
    ended = CounterMetricFamily("facet_jobs", "Jobs that ended", labels=("kind", "status"))
    for name, count in counts.items():
        kind, _, status = name.rpartition(" ")
        ended.add_metric((kind, status), int(count))
    return ended


def _queues(rows: list[tuple[str, int, int, int]]) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("facet_jobs_waiting", "Jobs not yet started", labels=("queue",))
    oldest = GaugeMetricFamily("facet_jobs_oldest_wait_seconds", "Age of the job that is next", labels=("queue",))
    workers = GaugeMetricFamily("facet_job_workers", "Workers that read the queue", labels=("queue",))
    for queue, depth, age_ms, alive in rows:
        waiting.add_metric((queue,), depth)
        oldest.add_metric((queue,), age_ms / 1000)
        workers.add_metric((queue,), alive)
    yield from (waiting, oldest, workers)


def register_job_metrics(registry: CollectorRegistry, settings: Settings) -> None:
    """Expose the job metrics through a registry."""
    client = redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        protocol=2,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
    )
    registry.register(JobMetrics(client, settings))
