"""What no label of the target may choose: each source in turn stands for the target, the other for the sources.

Labels of both sources are known to whoever adapts, so figures of these pilots may decide how to adapt to the target.
With one source there are no instances to align, so they decide on pseudo-labels and on the image-level loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from services.perception.detection.evaluation.experiments import DIRECTIONS, BackboneName, base_recipe
from services.perception.detection.optimisation.adaptation_recipe import AdaptationRecipe

PILOT: Final = "pilot/"
"""How their keys begin in the file of results."""

VARIANTS: Final[Mapping[str, Mapping[str, float | None]]] = {
    "source alone": {"unsupervised": 0.0, "image": 0.0, "decay": 0.0},
    "mean teacher": {"image": 0.0, "unsure": None},
    "mean teacher, unsure 0.2": {"image": 0.0, "unsure": 0.2},
    "the same, image 0.02": {"image": 0.02, "unsure": 0.2},
}
"""Changes of the recipe by name; the first has no use for pictures of the target."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """One detector that is adapted from a source to another.

    Attributes:
        source: origin of the labelled pictures.
        target: origin of the pictures whose labels are only measured by.
        variant: what is changed.
        backbone: as of an experiment.
        seed: of everything that is drawn.
    """

    source: str
    target: str
    variant: str
    backbone: BackboneName = "imagenet"
    seed: int = 0

    @property
    def key(self) -> str:
        """Names it in the file of results."""
        return f"{PILOT}{self.source} to {self.target}/{self.backbone}/{self.variant}/{self.seed}"

    @property
    def method(self) -> str:
        """In the file of results."""
        return self.variant

    @property
    def sources(self) -> tuple[str, ...]:
        """The only source."""
        return (self.source,)

    @property
    def burn_in_key(self) -> str:
        """Names what its first steps depend on."""
        return f"pilot-{self.source}-{self.backbone}-{self.seed}"

    def recipe(self, *, burn_in: int, steps: int) -> AdaptationRecipe:
        """What is done: as many labelled pictures in a step as of two sources."""
        whole = base_recipe(self.backbone)
        changed: dict[str, Any] = dict(VARIANTS[self.variant])
        return replace(
            whole, burn_in=burn_in, steps=steps, seed=self.seed, batch=2 * whole.batch, instance=0.0, **changed
        )


def pilots() -> Iterator[Pilot]:
    """Those of the first direction first; a pair of origins serves one direction alone."""
    for sources in DIRECTIONS.values():
        for source, target in (sources, sources[::-1]):
            for variant in VARIANTS:
                yield Pilot(source, target, variant)
