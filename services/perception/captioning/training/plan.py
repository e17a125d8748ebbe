"""All runs behind the releases and the report, in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.perception.captioning.training.caption_training import CaptionRecipe


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run.

    Attributes:
        recipe: of the run.
        start: name of the run that it goes on from, or from its release where its folder is gone.
    """

    recipe: CaptionRecipe
    start: str | None = None


_LSTM: Final = CaptionRecipe(encoder="lite0", decoder="lstm", epochs=12)
_TRANSFORMER: Final = CaptionRecipe(encoder="lite2", decoder="transformer", width=256, epochs=8, coverage=0.0, seed=1)


_ABLATED_EPOCHS: Final = 3
"""What ImageNet is worth shows early, and an epoch takes five minutes on two cores."""


def _tune(recipe: CaptionRecipe, *, learning_rate: float = 2e-4, tail_learning_rate: float = 2e-4) -> CaptionRecipe:
    return replace(recipe, epochs=4, learning_rate=learning_rate, tail_learning_rate=tail_learning_rate, warm_up=200)


RUNS: Final[Mapping[str, PlannedRun]] = {
    "lstm-lite0": PlannedRun(_LSTM),
    "transformer-lite2": PlannedRun(_TRANSFORMER),
    "lstm-lite0-tuned": PlannedRun(_tune(_LSTM), start="lstm-lite0"),
    "transformer-lite2-tuned": PlannedRun(_tune(_TRANSFORMER), start="transformer-lite2"),
    "lstm-lite0-tuned-slower": PlannedRun(
        _tune(_LSTM, learning_rate=1e-4, tail_learning_rate=5e-5), start="lstm-lite0"
    ),
    "lstm-lite0-longer": PlannedRun(_tune(_LSTM, learning_rate=1e-4, tail_learning_rate=0.0), start="lstm-lite0"),
    "transformer-lite2-longer": PlannedRun(
        _tune(_TRANSFORMER, learning_rate=1e-4, tail_learning_rate=0.0), start="transformer-lite2"
    ),
    "lstm-lite0-random": PlannedRun(replace(_LSTM, encoder="lite0-random", epochs=_ABLATED_EPOCHS)),
    "lstm-lite0-short": PlannedRun(replace(_LSTM, epochs=_ABLATED_EPOCHS)),
}
"""By the folder of each. `slower` and `longer` are what a tuned run is to be compared with, the last two are the
ablation without ImageNet and what that is to be compared with."""

RELEASED: Final = ("lstm-lite0", "transformer-lite2", "lstm-lite0-tuned", "transformer-lite2-tuned")
"""Runs that are released unless others are named."""
