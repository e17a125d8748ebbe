"""Everything that decides the weights of a run, beside data and published weights; ablations are other recipes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from services.medical.chest_xray.training.data.augmentation import AugmentationOptions
from services.medical.chest_xray.training.networks.options import NetworkOptions
from services.medical.chest_xray.training.stages.schedule import ScheduleOptions
from services.medical.chest_xray.training.stages.training import StageOptions

_PUBLISHED = StageOptions(epochs=50, steps=48, batch=16)
_CONTRASTIVE = StageOptions(epochs=50, steps=24, batch=32)
_CLASSIFIER = StageOptions(epochs=10, steps=48, batch=16)


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """How many films with inserted findings there are to each split, and their share in batches.

    Attributes:
        train: to learn from.
        val: that stages go by.
        test: that attention is measured on.
        pretraining: share of a batch of stage 0.
        attention: share of a batch of stage 2; the rest has a radiologist's boxes.
    """

    train: int = 1200
    val: int = 96
    test: int = 150
    pretraining: float = 0.5
    attention: float = 0.75


@dataclass(frozen=True, slots=True)
class Recipe:
    """A run. Stages that are None are left out.

    Attributes:
        network: what is trained.
        pretraining: stage 0: classes of films with inserted findings, tags of real ones.
        contrastive: stage 1a: the triplet loss.
        classifier: stage 1b: cross-entropy of the first encoder's own classifier.
        attention: stage 2: second encoder, decoder and attention head.
        fusion: stage 3: the fusion classifier alone.
        joint: instead of stages 1b, 2 and 3, all of it at once.
        simulation: of findings.
        augmentation: of films.
        views: of each film that stage 3 and the opacity head see.
        bfloat16: for the second encoder and the decoder.
        seed: of initial weights, order, views and dropout.
        fold: of `folds`, by patient, instead of the manifest's splits.
        folds: how many there are.
    """

    network: NetworkOptions = field(default_factory=NetworkOptions)
    pretraining: StageOptions | None = _PUBLISHED
    contrastive: StageOptions | None = _CONTRASTIVE
    classifier: StageOptions | None = _CLASSIFIER
    attention: StageOptions | None = _PUBLISHED
    fusion: StageOptions | None = _PUBLISHED
    joint: StageOptions | None = None
    simulation: SimulationOptions = field(default_factory=SimulationOptions)
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    views: int = 4
    bfloat16: bool = False
    seed: int = 0
    fold: int | None = None
    folds: int = 5

    def __post_init__(self) -> None:
        if self.joint is not None and any((self.classifier, self.attention, self.fusion)):
            raise ValueError("joint training stands instead of stages 1b, 2 and 3")
        if not self.network.second and any((self.attention, self.fusion, self.joint)):
            raise ValueError("without a second encoder there is no attention and nothing to fuse")


def schedule(rate: float, *, patience: int, stop_after: int) -> ScheduleOptions:
    """A schedule for fewer and longer epochs than the authors'."""
    return ScheduleOptions(learning_rate=rate, factor=0.3, patience=patience, stop_after=stop_after)


def shorten(recipe: Recipe, epochs: int) -> Recipe:
    """The same with so many epochs of each stage at most, for a trial."""
    names = ("pretraining", "contrastive", "classifier", "attention", "fusion", "joint")
    stages = {name: getattr(recipe, name) for name in names}
    fewer: dict[str, Any] = {
        name: None if stage is None else replace(stage, epochs=min(epochs, stage.epochs))
        for name, stage in stages.items()
    }
    return replace(recipe, **fewer)
