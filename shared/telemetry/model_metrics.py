"""The phases of requests by the model that answered them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram

from shared.telemetry.model_totals import ModelTotals
from shared.telemetry.timing import PHASES, Timings

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class ModelMetrics:
    """Histograms of `queue`, `pre`, `infer` and `post` by model and version: the split of Server-Timing.

    Args:
        registry: where they are published.

    Attributes:
        totals: sums by model and version, for statistics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._phases = Histogram(
            "facet_model_phase_seconds",
            "Time of a request in queue, preparation, inference and encoding, by the model that it asked",
            ("model", "version", "phase"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.totals: dict[tuple[str, str], ModelTotals] = {}
        self._known: dict[tuple[str, str], dict[str, Histogram]] = {}

    def observe(self, timings: Timings, *, status: int, seconds: float) -> None:
        """Count one answered request, if it asked a model.

        Args:
            timings: of the request.
            status: of its answer.
            seconds: that it took in all.
        """
        model = timings.model
        if model is None:
            return
        children = self._known.get(model)  # a look-up by labels costs several times as much as the counting
        if children is None:
            children = self._known[model] = {phase: self._phases.labels(*model, phase) for phase in PHASES}
            self.totals[model] = ModelTotals()
        self.totals[model].add(timings, status=status, seconds=seconds)
        for phase, seconds in timings.seconds.items():
            children[phase].observe(seconds)
