"""The fleet's classifiers that can be explained, released and uploaded, and what is held in memory of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final

import anyio
import anyio.to_thread
from fastapi import Depends

from services.released import open_artifacts
from services.uncertainty.explanation.graphs import TrustedSource
from services.uncertainty.explanation.inference import LARGEST_BATCH, Explainer
from services.uncertainty.explanation.networks.graph import UnsupportedNetwork
from services.uncertainty.explanation.settings import ExplanationSettings
from services.uncertainty.explanation.uploaded import IsolatedSource, require_explainable_card
from shared.fleet.artifacts import ModelArtifact, ModelArtifacts
from shared.problems import ServiceUnavailable, field_problem
from shared.runtime.batching.model_batchers import Batchers
from shared.runtime.cards import ModelReference, reference_of
from shared.runtime.inspection.preparation import TrialLimits
from shared.service_state import ServiceState, state_of
from shared.settings import Settings

CLASSIFIER_INPUT: Final = "pictures"
"""Name of the only input of a released classifier's graph."""

_REFUSALS: Final = 256
"""Models of which is remembered why they cannot be explained."""


class Explainers:
    """Hands out explainers by the name of a classifier.

    Released classifiers are read when the service starts, and their graphs stay. Uploaded ones, and released ones whose
    cards want them on demand, are read when they are first asked for, and those that were not asked for the longest go
    when all of their graphs together take more than they may.

    Args:
        artifacts: finds models.
        settings: of the process.
        memory_bytes: what graphs that are made on demand may take, by the size of their files.
    """

    def __init__(self, artifacts: ModelArtifacts, settings: Settings, *, memory_bytes: int) -> None:
        self._artifacts, self._settings, self._memory_bytes = artifacts, settings, memory_bytes
        self._released: dict[str, Explainer] = {}
        self._on_demand: dict[str, Explainer] = {}
        self._recent: OrderedDict[str, Explainer] = OrderedDict()
        self._refused: OrderedDict[str, UnsupportedNetwork] = OrderedDict()
        self._opened = False
        self._one_at_a_time = anyio.Lock()

    def open_released(self) -> None:
        """Verify, convert and warm up the released classifiers that are not read on demand. Blocking: seconds of work.

        Raises:
            DigestMismatch: a file is not the one of its card.
        """
        for artifact in self._artifacts.released:
            if artifact.card.runtime.on_demand or not _takes_pictures(artifact):
                continue
            try:
                explainer = self._make(artifact)
            except UnsupportedNetwork as error:
                self._remember(artifact, error)
            else:
                explainer.warm_up()
                self._released[_key(artifact)] = explainer
        self._opened = True

    @property
    def known(self) -> list[Explainer]:
        """All that are at hand."""
        return [*self._released.values(), *self._on_demand.values()]

    async def further(self) -> list[ModelReference]:
        """Models that can be named and are not at hand; whether they can be explained is found out then."""
        released = (
            one for one in self._artifacts.released if one.card.runtime.on_demand and self._may_be_explained(one)
        )
        found = [*filter(self._may_be_explained, released), *await self._artifacts.uploaded()]
        return [reference_of(one.card) for one in found if _key(one) not in {*self._on_demand, *self._refused}]

    async def get(self, name: str) -> Explainer:
        """The explainer of a classifier: of the version that its service answers with by default.

        Raises:
            ServiceUnavailable: released ones are still opening, or the model cannot be found or read at present.
            NotFound: there is no such model.
            UnprocessableContent: there is, but it cannot be explained; says all that stands in the way.
        """
        if not self._opened:
            raise ServiceUnavailable("The explainers are not ready. /health/ready says why.", retry_after_s=5)
        artifact = await self._artifacts.find(name)
        found = self._at_hand(artifact)
        if found is not None:
            return found
        async with self._one_at_a_time:
            return self._at_hand(artifact) or await self._convert(artifact)

    async def trim(self, batchers: Batchers) -> None:
        """Let go of what is too much, also of the one just asked for if it is too large by itself.

        Whoever has it already may finish.

        Args:
            batchers: of the service, which have one for each graph that was run.
        """
        while self._recent and self.memory > self._memory_bytes:
            key, explainer = self._recent.popitem(last=False)
            self._on_demand.pop(key, None)
            for graph in explainer.drop_graphs():
                await batchers.retire(graph.model)

    @property
    def memory(self) -> int:
        """Bytes of the graphs of what was read on demand."""
        return sum(graph.size for explainer in self._recent.values() for graph in explainer.graphs)

    def _at_hand(self, artifact: ModelArtifact) -> Explainer | None:
        key = _key(artifact)
        if key in self._refused:
            raise _unexplainable(artifact, self._refused[key])
        found = self._on_demand.get(key)
        if found is None:
            return self._released.get(key)
        self._recent[key] = found
        self._recent.move_to_end(key)
        return found

    async def _convert(self, artifact: ModelArtifact) -> Explainer:
        try:
            explainer = await anyio.to_thread.run_sync(self._make, artifact)
        except UnsupportedNetwork as error:
            self._remember(artifact, error)
            raise _unexplainable(artifact, error) from None
        if artifact.released and not artifact.card.runtime.on_demand:
            self._released[_key(artifact)] = explainer
        else:
            self._on_demand[_key(artifact)] = self._recent[_key(artifact)] = explainer
        return explainer

    def _may_be_explained(self, artifact: ModelArtifact) -> bool:
        """As far as its card says."""
        try:
            self._require_card(artifact)
        except UnsupportedNetwork:
            return False
        return _takes_pictures(artifact)

    def _require_card(self, artifact: ModelArtifact) -> None:
        require_explainable_card(artifact.card, pixel_limit=self._settings.pixel_limit // LARGEST_BATCH)

    def _make(self, artifact: ModelArtifact) -> Explainer:
        self._require_card(artifact)
        limits = TrialLimits.of(self._settings)
        source = TrustedSource(artifact.read) if artifact.released else IsolatedSource(artifact.read, limits)
        return Explainer(artifact.card, source, threads=self._settings.inference_threads)

    def _remember(self, artifact: ModelArtifact, error: UnsupportedNetwork) -> None:
        self._refused[_key(artifact)] = error
        while len(self._refused) > _REFUSALS:
            self._refused.popitem(last=False)


def _takes_pictures(artifact: ModelArtifact) -> bool:
    return [tensor.name for tensor in artifact.card.inputs] == [CLASSIFIER_INPUT]


def _key(artifact: ModelArtifact) -> str:
    """One for each version, file and card: the card says how answers are read."""
    return f"{artifact.domain} {artifact.card.model_dump_json()}"


def _unexplainable(artifact: ModelArtifact, error: UnsupportedNetwork) -> Exception:
    return field_problem("/body/model", f"{artifact.card.name} {artifact.card.version} cannot be explained: {error}.")


@asynccontextmanager
async def open_explainers(service: ServiceState) -> AsyncIterator[Explainers]:
    """The explainers of a service; `convert_released` opens the released ones."""
    async with open_artifacts(service) as artifacts:
        yield Explainers(artifacts, service.settings, memory_bytes=ExplanationSettings().uploaded_memory_bytes)


def convert_released(service: ServiceState) -> None:
    """Convert what was released, before the service is ready."""
    service.states.get(Explainers).open_released()


KnownExplainers = Annotated[Explainers, Depends(state_of(Explainers))]
"""Annotate a route's parameter with this to get the explainers."""
