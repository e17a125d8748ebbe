"""Captioners of random weights behind a small backbone, exported and released as trained ones are."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from services.optimisation.efficientnet_lite import EfficientNetLite, Stage
from services.perception.captioning.training import features
from services.perception.captioning.training.caption_training import CaptionRecipe, make_captioner
from services.perception.captioning.training.cards import Origin
from services.perception.captioning.training.features import Backbone, make_backbone
from services.perception.captioning.training.parity import mosaics
from services.perception.captioning.training.release import release_captioner
from services.perception.captioning.training.runs import FinishedRun
from services.perception.captioning.vocabulary import SPECIALS, Vocabulary
from shared.runtime.cards import ModelCard, read_card
from shared.runtime.models.releases import write_card

SIDE = 64
"""Of pictures that they see, whose places are a grid of 4 x 4."""

GRID = (4, 4)

TINY = (
    Stage(1, 3, 1, 1, 8),
    Stage(1, 3, 2, 2, 8),
    Stage(1, 3, 2, 2, 16),
    Stage(1, 3, 2, 2, 16),
    Stage(1, 3, 1, 2, 24),
    Stage(1, 3, 2, 2, 24),
    Stage(1, 3, 1, 2, 32),
)
WORDS = ("a", "dog", "man", "'s", "red", "ball", "runs", "on", "the", "grass", "beach", "two", "with")
ORIGIN = Origin(photographs=0, hours=0.0, machine="of the test", command="none: random weights")


@cache
def tiny_backbone() -> EfficientNetLite:
    """Of random weights, with batch normalisation measured on mosaics."""
    with patch.dict(features.BACKBONES, {"tiny": Backbone(TINY, None)}):
        return make_backbone("tiny", torch.from_numpy(mosaics(16, (SIDE, SIDE))))


def tiny_run(decoder: str, *, seed: int = 1) -> FinishedRun:
    """A run as if it were finished; weights are so large that captions of different pictures differ."""
    recipe = CaptionRecipe(encoder="tiny", decoder=decoder, width=16, epochs=1)
    torch.manual_seed(seed)
    captioner = make_captioner(recipe, (TINY[4].outputs, TINY[6].outputs), len(SPECIALS) + len(WORDS))
    for parameter in captioner.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    log = [{"epoch": 1, "CIDEr-D": 0.0, "BLEU-4": 0.0}]
    return FinishedRun(captioner.eval(), Vocabulary((*SPECIALS, *WORDS)), recipe, 1, 0.0, log)


def release_tiny(models: Path, name: str, *, decoder: str = "lstm", seed: int = 1) -> tuple[Path, Path]:
    """Release a captioner into the folder of a domain; the folders of its encoder and its decoder."""
    run = tiny_run(decoder, seed=seed)
    encoder, made = release_captioner(run, tiny_backbone(), ORIGIN, name=name, models=models, side=SIDE)
    return encoder, made


def change_card(folder: Path, change: Callable[[dict[str, Any]], None]) -> ModelCard:
    """Change the parameters of a released card in place."""
    card = read_card(folder)
    parameters = card.model_dump()["parameters"]
    change(parameters)
    changed = card.model_copy(update={"parameters": parameters})
    write_card(changed, folder)
    return changed


def mosaic(seed: int, *, height: int = 48, width: int = 64) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A picture of squares of random colours, uint8 (height, width, 3)."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    rows, columns = (np.arange(side) * 6 // side for side in (height, width))
    return colours[rows][:, columns]
