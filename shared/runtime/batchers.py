"""One batcher for each model of a service, made when it is first asked for, with its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol
from weakref import WeakSet

import anyio.from_thread

from shared.runtime.batch_items import Answer, Arrays, BatchLimits
from shared.runtime.batching import Batcher
from shared.runtime.cards import UploadedCard
from shared.runtime.metrics import BatchMetrics
from shared.runtime.sessions import OnnxModel
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

    def of(self, model: OnnxModel) -> Batcher:
        """The batcher that all requests to this model share.

        A request that still holds a model which was unloaded meanwhile gets one of its own, gone with its answer.
        """
        note_model(model.card.name, model.card.version)
        batcher = self._known.get(model)
        if batcher is None:
            observe = self._metrics.observer(model.card.name, model.card.version)
            narrow = model.narrow.run if model.narrow is not None else None
            limits = self._limits_of(model.card)
            batcher = Batcher(model.run, limits=limits, observe=observe, narrow=narrow, lanes=model.lanes)
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

    def run(self, model: OnnxModel) -> BatchedModel:
        """The model as a thread sees it that computes for a request: its runs wait for their places in batches."""
        return BatchedModel(model, self.of(model))

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
    def card(self) -> UploadedCard:
        """What the model is."""

    def run(self, inputs: Arrays, *, common: Arrays | None = None) -> Answer:
        """Its outputs, in the order of the card.

        Args:
            inputs: arrays by name, all with the same first axis.
            common: further inputs without that axis.
        """
