"""What Prometheus gets to know of batches and queues.

What is counted per batch goes into histograms. What can be read off the queues is read when it is asked for, so that
requests pay nothing for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.runtime.batching.batcher import Batcher
from shared.runtime.batching.items import BatchReport
from shared.runtime.compute_pool import ComputePool
from shared.telemetry.model_totals import BatchTotals

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LABELS = ("model", "version")

Batching = Callable[[], Mapping[tuple[str, str], Sequence[Batcher]]]
"""The batchers that there are now, by name and version of their model."""


class BatchMetrics:
    """Batches by model and version. How long requests waited for theirs is in `facet_model_phase_seconds`.

    Args:
        registry: where they are published.

    Attributes:
        totals: sums by model and version, for statistics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.totals: dict[tuple[str, str], BatchTotals] = {}
        self._rows = Histogram("facet_batch_rows", "Rows of a batch", _LABELS, buckets=_ROWS, registry=registry)
        self._infer = Histogram(
            "facet_batch_infer_seconds", "Time of the model's run", _LABELS, buckets=_SECONDS, registry=registry
        )

    def observer(self, model: str, version: str) -> Callable[[BatchReport], None]:
        """What a batcher is to tell of each batch; its series are looked up here and never again."""
        rows, infer = self._rows.labels(model, version), self._infer.labels(model, version)
        totals = self.totals.setdefault((model, version), BatchTotals())

        def observe(report: BatchReport) -> None:
            rows.observe(report.rows)
            infer.observe(report.infer_s)
            totals.add(report.rows, report.infer_s)

        return observe


class QueueMetrics(Collector):
    """Queues, as they are at each scrape.

    - `facet_batch_waiting{model,version}`: requests that wait for a batch
    - `facet_batch_rejected_total{model,version,reason}`: refused at once: `queue_full`,
      `adaptive_limit` where answers take too long, `deadline`
    - `facet_batch_expired_total{model,version}`: accepted, and dropped at their deadline before they were computed
    - `facet_batch_coalesced_total{model,version}`: answered by the run of an equal request
    - `facet_batch_remembered_total{model,version}`: answered with the kept answer of an equal request
    - `facet_pool_waiting{pool}`, `facet_pool_rejected_total{pool}`: likewise for what is computed in threads

    Args:
        registry: where they are published.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._batching: Batching = dict
        self._pools: Mapping[str, ComputePool] = {}
        registry.register(self)

    def watch(self, batching: Batching, pools: Mapping[str, ComputePool]) -> None:
        """Look at these from now on."""
        self._batching, self._pools = batching, pools

    def describe(self) -> list[Metric]:
        """Nothing is known before a scrape; this keeps registration from making one."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the queues. From another thread than theirs: what changes meanwhile may be counted or not."""
        batching = list(self._batching().items())
        waiting = GaugeMetricFamily("facet_batch_waiting", "Requests that wait for a batch", labels=_LABELS)
        for model, batchers in batching:
            waiting.add_metric(model, sum(batcher.waiting for batcher in batchers))
        yield waiting
        yield from _counts(batching)
        waiting = GaugeMetricFamily("facet_pool_waiting", "Requests that wait for a thread", labels=["pool"])
        rejected = CounterMetricFamily("facet_pool_rejected", "Requests refused at once", labels=["pool"])
        for name, pool in self._pools.items():
            waiting.add_metric([name], pool.waiting)
            rejected.add_metric([name], pool.rejected)
        yield from (waiting, rejected)


def _counts(batching: list[tuple[tuple[str, str], Sequence[Batcher]]]) -> Iterator[Metric]:
    rejected = CounterMetricFamily("facet_batch_rejected", "Requests refused at once", labels=(*_LABELS, "reason"))
    expired = CounterMetricFamily("facet_batch_expired", "Requests whose deadline passed in the queue", labels=_LABELS)
    coalesced = CounterMetricFamily("facet_batch_coalesced", "Requests answered with another's run", labels=_LABELS)
    remembered = CounterMetricFamily("facet_batch_remembered", "Requests answered from memory", labels=_LABELS)
    for model, batchers in batching:
        all_counts = [batcher.counts for batcher in batchers]
        reasons: Counter[str] = Counter()
        for counts in all_counts:
            reasons.update(counts.rejected)
        for reason, count in reasons.items():
            rejected.add_metric((*model, reason), count)
        expired.add_metric(model, sum(counts.expired for counts in all_counts))
        coalesced.add_metric(model, sum(counts.coalesced for counts in all_counts))
        remembered.add_metric(model, sum(counts.remembered for counts in all_counts))
    yield from (rejected, expired, coalesced, remembered)
