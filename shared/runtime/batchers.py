"""One batcher for each model of a service, made when it is first asked for, with its metrics."""

from __future__ import annotations

from collections.abc import Mapping

from shared.runtime.batching import Batcher, BatchLimits
from shared.runtime.metrics import BatchMetrics
from shared.runtime.sessions import OnnxModel
from shared.telemetry.timing import note_model


class Batchers:
    """Hands out the batcher of a model.

    Args:
        limits: of each of them.
        metrics: told of every batch.
    """

    def __init__(self, limits: BatchLimits, metrics: BatchMetrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._known: dict[tuple[str, str], Batcher] = {}

    @property
    def known(self) -> Mapping[tuple[str, str], Batcher]:
        """Those that there are now, by name and version of their model."""
        return dict(self._known)

    def of(self, model: OnnxModel) -> Batcher:
        """The batcher that all requests to this model and version share."""
        card = model.card
        key = card.name, card.version
        note_model(*key)
        if key not in self._known:
            self._known[key] = Batcher(model.run, limits=self._limits, observe=self._metrics.observer(*key))
        return self._known[key]

    async def close(self) -> None:
        """Close all of them."""
        for batcher in self._known.values():
            await batcher.close()
