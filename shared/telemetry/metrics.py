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

    def observe(self, *, method: str, route: str, status: int, seconds: float, timings: Timings) -> None:
        """Count one answered request."""
        self.requests.labels(self.process, method, route, status).inc()
        self.seconds.labels(self.process, route).observe(seconds)
        for phase, duration in timings.seconds.items():
            self.phases.labels(self.process, route, phase).observe(duration)
        self.models.observe(timings)

    def render(self) -> bytes:
        """The exposition that /metrics answers."""
        return generate_latest(self.registry)
