"""All experiments in the order in which they are done: whatever exists at any time compares all methods fairly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from services.perception.detection.optimisation.adaptation_recipe import AdaptationRecipe
from services.perception.detection.optimisation.backbones import BackboneOptions
from services.perception.detection.optimisation.construction import DetectorOptions
from services.perception.detection.optimisation.domain_alignment import AlignmentOptions
from services.perception.detection.optimisation.optimisers import OptimiserOptions

CLASSES: Final = ("WBC", "RBC", "Platelets")
DIRECTIONS: Final = {"R": ("B", "P"), "B": ("P", "R"), "P": ("B", "R")}
"""Sources of each target, by the origin of the pictures; on P there is next to nothing to gain, so it comes last."""
SHORT_SIDE: Final = 256

Method = Literal[
    "source-only", "strong", "mean-teacher-paper", "acia-paper", "mean-teacher", "image", "agnostic",
    "acia-unbalanced", "acia", "target",
]  # fmt: skip
BackboneName = Literal["imagenet", "scratch"]

METHODS: Final[dict[Method, str]] = {
    "source-only": "Sources alone",
    "strong": "Sources alone, strong colour augmentation",
    "mean-teacher-paper": "Mean teacher of the paper: whatever scores less than a label is background",
    "acia-paper": "ACIA with it, its classes not balanced, weight of the image-level loss 0.1",
    "mean-teacher": "Mean teacher that leaves the unsure open",
    "image": "Mean teacher and image-level discriminator",
    "agnostic": "Mean teacher, image level, instances without their class",
    "acia-unbalanced": "ACIA whose classes count as often as they are there",
    "acia": "ACIA whose classes count alike",
    "target": "Labels of the target (upper bound)",
}
_LABELLED: Final[Mapping[str, Any]] = {"decay": 0.0, "unsupervised": 0.0, "image": 0.0, "instance": 0.0}
_UNBALANCED: Final = AlignmentOptions(balanced=False)
_CHANGES: Final[Mapping[Method, Mapping[str, Any]]] = {
    "source-only": {**_LABELLED, "strong": 0.0},
    "strong": _LABELLED,
    "mean-teacher-paper": {"image": 0.0, "instance": 0.0, "unsure": None},
    "acia-paper": {"image": 0.1, "unsure": None, "alignment": _UNBALANCED},
    "mean-teacher": {"image": 0.0, "instance": 0.0},
    "image": {"instance": 0.0},
    "agnostic": {"alignment": AlignmentOptions(conditioned=False)},
    "acia-unbalanced": {"alignment": _UNBALANCED},
    "acia": {},
    "target": _LABELLED,
}
"""Of the base recipe."""

REPEATED: Final[tuple[Method, ...]] = ("mean-teacher", "image", "acia")
"""Methods that more than one seed is spent on."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One detector that is trained and measured.

    Attributes:
        target: origin of the pictures without labels.
        backbone: with ImageNet's weights, or from nothing as in the paper's own setting.
        method: how it is adapted.
        seed: of everything that is drawn.
    """

    target: str
    backbone: BackboneName
    method: Method
    seed: int

    @property
    def key(self) -> str:
        """Names it in the file of results."""
        return f"{self.target}/{self.backbone}/{self.method}/{self.seed}"

    @property
    def sources(self) -> tuple[str, ...]:
        """Origins of the labelled pictures."""
        return (self.target,) if self.method == "target" else DIRECTIONS[self.target]

    @property
    def burn_in_key(self) -> str:
        """Names what its first steps depend on: methods that begin alike share them."""
        beginning = self.method if self.method in {"source-only", "target"} else "strong"
        return f"{self.target}-{self.backbone}-{beginning}-{self.seed}"

    def recipe(self, *, burn_in: int, steps: int) -> AdaptationRecipe:
        """What is done: equally many steps for all, of which the second part differs between methods."""
        whole = replace(base_recipe(self.backbone), burn_in=burn_in, steps=steps, seed=self.seed)
        changed = replace(whole, **_CHANGES[self.method])
        # Of one set instead of two, so that a step sees as many pictures.
        return replace(changed, batch=2 * whole.batch) if self.method == "target" else changed


def base_recipe(backbone: BackboneName) -> AdaptationRecipe:
    """What all recipes are changes of."""
    options = BackboneOptions(trained_stages=3) if backbone == "imagenet" else BackboneOptions(kind="residual")
    return AdaptationRecipe(DetectorOptions(CLASSES, "two-stage", options), optimiser=OptimiserOptions(warm_up=100))


_BACKBONES: Final[tuple[BackboneName, ...]] = ("imagenet", "scratch")


def experiments(*, seeds: int) -> Iterator[Experiment]:
    """All of them; each direction is compared before seeds are repeated, and the other backbone comes last.

    Args:
        seeds: of the methods that are repeated.
    """
    for backbone in _BACKBONES:
        for target in DIRECTIONS:
            for method in METHODS:
                yield Experiment(target, backbone, method, 0)
        for seed in range(1, seeds):
            for target in DIRECTIONS:
                for method in REPEATED:
                    yield Experiment(target, backbone, method, seed)
