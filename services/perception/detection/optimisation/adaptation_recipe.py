"""Everything that decides what adaptation makes of a detector, beside the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.perception.detection.optimisation.construction import DetectorOptions, options_of
from services.perception.detection.optimisation.domain_alignment import AlignmentOptions
from services.perception.detection.optimisation.guards import GuardOptions
from services.perception.detection.optimisation.optimisers import OptimiserOptions


@dataclass(frozen=True, slots=True)
class AdaptationRecipe:
    """Burn-in on labelled sources, then steps in which pictures of the target take part (paper, section 5).

    Weights of 0 leave a part out: with all three, the second part is more of the first, which is the baseline.

    Attributes:
        detector: what is trained.
        burn_in: steps with labels alone.
        steps: steps after them; the teacher begins as a copy of the student at their first.
        batch: pictures of each source in a step.
        target_batch: pictures of the target in a step.
        strong: share of labelled pictures that are seen in their strong view. The paper sees each in both views, at
            twice the cost.
        scales: limits of the factor by which sizes of pictures vary.
        optimiser: learning rates; constant in burn-in, falling to zero afterwards. The paper's stay constant, over
            forty times as many steps.
        decay: of the teacher. The paper's 0.9996 is for 90,000 steps.
        threshold: score of pseudo-labels, the paper's.
        unsure: score from which on what the teacher finds is not taken for background, either. None for the paper's
            way: all below the threshold is, so that a class of which the teacher is mostly unsure is unlearned (the
            evaluation has both).
        unsupervised: weight of their losses, of classes only, as in the paper.
        image: weight of the image-level domain loss. The released 0.001 is of a loss that tells no domains apart; 0.1
            loses what is learned of rare classes (the evaluation has both).
        instance: weight of the instance-level domain loss, the paper's.
        alignment: shapes of both.
        guard: limits.
        seed: of order, views, samples and new weights.
    """

    detector: DetectorOptions
    burn_in: int = 800
    steps: int = 600
    batch: int = 2
    target_batch: int = 2
    strong: float = 0.5
    scales: tuple[float, float] = (0.8, 1.2)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    decay: float = 0.995
    threshold: float = 0.7
    unsure: float | None = 0.2
    unsupervised: float = 1.0
    image: float = 0.02
    instance: float = 0.3
    alignment: AlignmentOptions = field(default_factory=AlignmentOptions)
    guard: GuardOptions = field(default_factory=GuardOptions)
    seed: int = 0

    @property
    def total(self) -> int:
        """All steps."""
        return self.burn_in + self.steps

    @property
    def sees_target(self) -> bool:
        """Whether pictures of the target take part at all."""
        return self.unsupervised > 0 or self.image > 0

    @classmethod
    def read(cls, known: Mapping[str, Any]) -> AdaptationRecipe:
        """A recipe out of what `asdict` made of one, also by way of JSON."""
        alignment: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in known["alignment"].items()
        }
        return cls(
            **{
                **known,
                "detector": options_of(known["detector"]),
                "scales": tuple(known["scales"]),
                "optimiser": OptimiserOptions(**known["optimiser"]),
                "alignment": AlignmentOptions(**alignment),
                "guard": GuardOptions(**known["guard"]),
            }
        )
