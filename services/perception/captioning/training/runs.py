"""Finished runs: their captioners, their vocabularies, and the record that a card states."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.captioning.training.caption_training import CaptionRecipe, make_captioner
from services.perception.captioning.training.features import CUT, map_channels
from services.perception.captioning.training.networks import Captioner
from services.perception.captioning.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The best weights of a run.

    Attributes:
        captioner: in evaluation mode.
        vocabulary: its words.
        recipe: all options of the run.
        epoch: that the weights are of.
        hours: that the whole run took.
        log: a row for each epoch.
    """

    captioner: Captioner
    vocabulary: Vocabulary
    recipe: CaptionRecipe
    epoch: int
    hours: float
    log: list[dict[str, Any]]


def read_run(folder: Path, backbone: EfficientNetLite) -> FinishedRun:
    """A finished run.

    Args:
        folder: of the run.
        backbone: published; its last stages are replaced by those of the run where it tuned them.

    Raises:
        ValueError: the run is not finished.
    """
    last = torch.load(folder / "checkpoint.pt", weights_only=True)
    best = torch.load(folder / "best.pt", weights_only=True)
    recipe = CaptionRecipe(**last["recipe"])
    if last["epoch"] < recipe.epochs:
        raise ValueError(f"{folder} has done {last['epoch']} of {recipe.epochs} epochs")
    tail = backbone.split(CUT)[1] if recipe.tail_learning_rate > 0 else None
    captioner = make_captioner(recipe, map_channels(recipe.encoder), len(best["words"]), tail=tail)
    captioner.load_state_dict(best["captioner"])
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return FinishedRun(
        captioner.eval(),
        Vocabulary(tuple(best["words"])),
        recipe,
        best["epoch"],
        round(last["seconds"] / 3600, 2),
        [json.loads(line) for line in lines],
    )
