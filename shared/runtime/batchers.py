"""One batcher for each model of a service, made when it is first asked for, with its metrics."""

from __future__ import annotations

from functools import partial
from weakref import WeakSet

from prometheus_client import CollectorRegistry, Gauge, Histogram

from shared.runtime.batching import Batcher, BatchLimits, BatchReport
from shared.runtime.cards import UploadedCard
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

    def observe(self, card: UploadedCard, report: BatchReport) -> None:
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
        self._known: dict[OnnxModel, Batcher] = {}
        self._retired: WeakSet[OnnxModel] = WeakSet()

    def of(self, model: OnnxModel) -> Batcher:
        """The batcher that all requests to this model share.

        A request that still holds a model which was unloaded meanwhile gets one of its own, gone with its answer.
        """
        batcher = self._known.get(model)
        if batcher is None:
            observe = partial(self._metrics.observe, model.card)
            batcher = Batcher(model.run, limits=self._limits, observe=observe)
            if model not in self._retired:
                self._known[model] = batcher
        return batcher

    async def retire(self, model: OnnxModel) -> None:
        """Forget a model that no further request will find, once what is under way for it is answered.

        Its batcher is not closed: a request that holds it already may still use it. Thread, session and memory go with
        the last reference.
        """
        self._retired.add(model)
        batcher = self._known.pop(model, None)
        if batcher is not None:
            await batcher.idle()

    async def close(self) -> None:
        """Close all of them."""
        for batcher in self._known.values():
            await batcher.close()
