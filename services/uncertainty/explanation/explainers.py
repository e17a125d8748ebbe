"""The fleet's classifiers that can be explained, found beside the perception service's code or in `FACET_MODELS`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import Depends

from services.uncertainty.explanation.graph import UnsupportedNetwork
from services.uncertainty.explanation.inference import Explainer
from shared.problems import NotFound, ServiceUnavailable, field_problem
from shared.runtime.cards import CARD_FILE, read_card, read_weights
from shared.runtime.registry import newest_folder
from shared.service_state import ServiceState, state_of
from shared.settings import Settings

MODELS = Path(__file__).parents[2] / "perception" / "models"
"""Models released with the perception service's code: files, not imports."""

CLASSIFIER_INPUT = "pictures"
"""Name of the only input of a classifier's graph."""


class Explainers:
    """Opens the newest version of every classifier and hands explainers out by name.

    Args:
        settings: where the models are, and how many threads a run takes.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.models_folder("perception", beside=MODELS)
        self._threads = settings.inference_threads
        self._known: dict[str, Explainer] = {}
        self._refused: dict[str, UnsupportedNetwork] = {}
        self._opened = False

    def open_explainers(self) -> None:
        """Verify, convert and warm up every classifier. Blocking: seconds of work.

        Raises:
            DigestMismatch: a file is not the one of its card.
        """
        for name in sorted({card.parents[1].name for card in self._folder.glob(f"*/*/{CARD_FILE}")}):
            folder = newest_folder(self._folder, name)
            card = read_card(folder)
            if [tensor.name for tensor in card.inputs] != [CLASSIFIER_INPUT]:
                continue
            try:
                explainer = Explainer(card, partial(read_weights, folder, card), threads=self._threads)
            except UnsupportedNetwork as error:
                self._refused[name] = error
                continue
            explainer.warm_up()
            self._known[name] = explainer
        self._opened = True

    @property
    def known(self) -> list[Explainer]:
        """All that can be explained."""
        return list(self._known.values())

    def get(self, name: str) -> Explainer:
        """The explainer of a classifier.

        Raises:
            ServiceUnavailable: still opening, or a file was refused.
            NotFound: there is no such classifier.
            UnprocessableContent: there is, but it has parts without a rule; they are named.
        """
        if name in self._known:
            return self._known[name]
        if name in self._refused:
            raise field_problem("/body/model", f"{name} cannot be explained: {self._refused[name]}.")
        if not self._opened:
            raise ServiceUnavailable("The explainers are not ready. /health/ready says why.", retry_after_s=5)
        known = ", ".join(sorted(self._known)) or "none"
        raise NotFound(f"There is no classifier {name}. Those that can be explained: {known}.")


@asynccontextmanager
async def open_explainers(service: ServiceState) -> AsyncIterator[Explainers]:
    """The explainers of a service; classifiers are converted by `convert_released`."""
    yield Explainers(service.settings)


def convert_released(service: ServiceState) -> None:
    """Convert what was released, before the service is ready."""
    service.states.get(Explainers).open_explainers()


KnownExplainers = Annotated[Explainers, Depends(state_of(Explainers))]
"""Annotate a route's parameter with this to get the explainers."""
