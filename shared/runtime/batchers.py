"""One batcher for each model of a service, made when it is first asked for, with its metrics."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Protocol

import anyio.from_thread
from prometheus_client import CollectorRegistry, Gauge, Histogram

from shared.runtime.batch_items import Answer, Arrays
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
        limits: of each of them, where the model's card does not say otherwise.
        metrics: told of every batch.
    """

    def __init__(self, limits: BatchLimits, metrics: BatchMetrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._known: dict[OnnxModel, Batcher] = {}

    def of(self, model: OnnxModel) -> Batcher:
        """The batcher that all requests to this model share."""
        batcher = self._known.get(model)
        if batcher is None:
            observe = partial(self._metrics.observe, model.card)
            batcher = Batcher(model.run, limits=self._limits_of(model.card), observe=observe)
            self._known[model] = batcher
        return batcher

    def run(self, model: OnnxModel) -> BatchedModel:
        """The model as a thread sees it that computes for a request: its runs wait for their places in batches."""
        return BatchedModel(model, self.of(model))

    def _limits_of(self, card: ModelCard) -> BatchLimits:
        wanted = card.runtime
        return replace(
            self._limits,
            rows=wanted.batch_rows or self._limits.rows,
            cost=wanted.batch_elements or self._limits.cost,
            coalesce=wanted.coalesce,
            answers=wanted.kept_answers,
        )

    async def close(self) -> None:
        """Close all of them."""
        for batcher in self._known.values():
            await batcher.close()


class BatchedModel:
    """A model whose runs are parts of batches, for code that runs in threads (`shared.runtime.slots`).

    Args:
        model: whose card it has.
        batcher: of the model.
    """

    def __init__(self, model: OnnxModel, batcher: Batcher) -> None:
        self.card = model.card
        self._batcher = batcher

    def run(self, inputs: Arrays, *, common: Arrays | None = None) -> Answer:
        """Run the model; see `Batcher.infer`."""
        cost = sum(array.size for array in inputs.values())
        return anyio.from_thread.run(partial(self._batcher.infer, inputs, common=common, cost=cost))


class Runnable(Protocol):
    """A model to run: in this thread, or in batches with other threads' runs."""

    @property
    def card(self) -> ModelCard:
        """What the model is."""

    def run(self, inputs: Arrays, *, common: Arrays | None = None) -> Answer:
        """Its outputs, in the order of the card.

        Args:
            inputs: arrays by name, all with the same first axis.
            common: further inputs without that axis.
        """
