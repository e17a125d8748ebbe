"""One batcher for each model of a service, made when it is first asked for, with its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from weakref import WeakSet

from shared.runtime.batching.batcher import Batcher
from shared.runtime.batching.items import Answer, Arrays, BatchLimits
from shared.runtime.batching.metrics import BatchMetrics
from shared.runtime.cards import UploadedCard
from shared.runtime.models.sessions import OnnxModel
from shared.telemetry.model_totals import BatchTotals
from shared.telemetry.timing import note_model


class Batchers:
    """Hands out the batcher of a model.

    Args:
        limits: of each of them, where the model's card does not say otherwise.
        metrics: told of every batch.
    """

    def __init__(self, limits: BatchLimits, metrics: BatchMetrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._known: dict[OnnxModel, Batcher] = {}
        self._retired: WeakSet[OnnxModel] = WeakSet()

    @property
    def known(self) -> Mapping[tuple[str, str], Sequence[Batcher]]:
        """Those that there are now, by name and version of their model, of which several graphs may have been made."""
        found: dict[tuple[str, str], list[Batcher]] = {}
        for model, batcher in list(self._known.items()):
            found.setdefault((model.card.name, model.card.version), []).append(batcher)
        return found

    def remembered(self, name: str, version: str) -> int:
        """Requests to a version of a model that were answered without a run."""
        return sum(batcher.counts.remembered for batcher in self.known.get((name, version), ()))

    def totals(self, name: str, version: str) -> BatchTotals:
        """Sums over the runs of a version of a model."""
        return self._metrics.totals.get((name, version)) or BatchTotals()

    def of(self, model: OnnxModel) -> Batcher:
        """The batcher that all requests to this model share.

        A request that still holds a model which was unloaded meanwhile gets one of its own, gone with its answer.
        """
        note_model(model.card.name, model.card.version)
        batcher = self._known.get(model)
        if batcher is None:
            observe = self._metrics.observer(model.card.name, model.card.version)
            single_threaded = model.single_threaded.run if model.single_threaded is not None else None
            limits = self._limits_of(model.card)
            batcher = Batcher(
                model.run, limits=limits, observe=observe, single_threaded=single_threaded, lanes=model.lanes
            )
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

    async def infer(self, model: OnnxModel, inputs: Arrays, *, common: Arrays | None = None) -> Answer:
        """The outputs of a model, computed in batches with what other requests ask of it; see `Batcher.infer`.

        Args:
            model: which.
            inputs: arrays by name, all with the same first axis; their elements are what they cost.
            common: further inputs without that axis.
        """
        cost = sum(array.size for array in inputs.values())
        return await self.of(model).infer(inputs, common=common, cost=cost)

    def _limits_of(self, card: UploadedCard) -> BatchLimits:
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
