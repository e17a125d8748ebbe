"""One batcher for each model of a service, made when it is first asked for, with its metrics."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Gauge, Histogram

from shared.runtime.batching import Batcher, BatchLimits, BatchReport
from shared.runtime.cards import ModelCard
from shared.runtime.sessions import OnnxModel

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class BatchMetrics:
    """Batches by model and version.

    Args:
        registry: where they are published.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("model", "version")
        self._rows = Histogram("facet_batch_rows", "Rows of a batch", labels, buckets=_ROWS, registry=registry)
        self._queue = Histogram(
            "facet_batch_queue_seconds", "Time from arrival to batch", labels, buckets=_SECONDS, registry=registry
        )
        self._infer = Histogram(
            "facet_batch_infer_seconds", "Time of the model's run", labels, buckets=_SECONDS, registry=registry
        )
        self._waiting = Gauge(
            "facet_batch_waiting", "Requests left when the last batch ended", labels, registry=registry
        )

    def observe(self, card: ModelCard, report: BatchReport) -> None:
        """Count one batch."""
        labels = (card.name, card.version)
        self._rows.labels(*labels).observe(report.rows)
        self._infer.labels(*labels).observe(report.infer_s)
        self._waiting.labels(*labels).set(report.waiting)
        for seconds in report.queue_s:
            self._queue.labels(*labels).observe(seconds)


class Batchers:
    """Hands out the batcher of a model.

    Args:
        limits: of each of them.
        metrics: told of every batch.
    """

    def __init__(self, limits: BatchLimits, metrics: BatchMetrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._known: dict[tuple[str, str], Batcher] = {}

    def of(self, model: OnnxModel) -> Batcher:
        """The batcher that all requests to this model and version share."""
        card = model.card
        key = card.name, card.version
        if key not in self._known:
            observe = partial(self._metrics.observe, card)
            self._known[key] = Batcher(model.run, limits=self._limits, observe=observe)
        return self._known[key]

    async def close(self) -> None:
        """Close all of them."""
        for batcher in self._known.values():
            await batcher.close()
