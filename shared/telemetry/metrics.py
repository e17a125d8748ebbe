"""Prometheus metrics of a process: requests, their phases, and whatever a capability adds."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from shared.telemetry.model_metrics import ModelMetrics
from shared.telemetry.timing import Timings

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

CONTENT_TYPE = CONTENT_TYPE_LATEST


class HttpMetrics:
    """Counts requests by route template, so that ids in paths do not make new series.

    Args:
        process: value of the `process` label.
        registry: a registry of its own per application, so that tests can make several.
    """

    def __init__(self, process: str, registry: CollectorRegistry | None = None) -> None:
        self.process = process
        self.registry = registry or CollectorRegistry()
        labels = ("process", "method", "route", "status")
        self.requests = Counter("facet_http_requests", "Requests answered", labels, registry=self.registry)
        self.seconds = Histogram(
            "facet_http_request_seconds",
            "Time from the first byte of a request to the last of its answer",
            ("process", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.phases = Histogram(
            "facet_http_phase_seconds",
            "Time in queue, preparation, inference and encoding",
            ("process", "route", "phase"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "facet_http_requests_in_flight", "Requests being answered", ("process",), registry=self.registry
        )
        self.models = ModelMetrics(self.registry)

        self._under_way = self.in_flight.labels(process)
        # Finding a series by its labels costs more than counting in it.
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._times: dict[tuple[str, str], Histogram] = {}

    def begin(self) -> None:
        """A request came."""
        self._under_way.inc()

    def end(self, *, method: str, route: str, status: int, seconds: float, timings: Timings) -> None:
        """Count one answered request."""
        self._under_way.dec()
        counter = self._counters.get((method, route, status))
        if counter is None:
            counter = self.requests.labels(self.process, method, route, status)
            self._counters[method, route, status] = counter
        counter.inc()
        self._time(route, "").observe(seconds)
        for phase, duration in timings.seconds.items():
            self._time(route, phase).observe(duration)
        self.models.observe(timings, status=status, seconds=seconds)

    def _time(self, route: str, phase: str) -> Histogram:
        """The histogram of a route, or of a phase of it."""
        found = self._times.get((route, phase))
        if found is None:
            labels = (self.process, route, phase) if phase else (self.process, route)
            found = (self.phases if phase else self.seconds).labels(*labels)
            self._times[route, phase] = found
        return found

    def render(self) -> bytes:
        """The exposition that /metrics answers."""
        return generate_latest(self.registry)
