"""What keeps adaptation from running away: capped losses, and an end with a reason instead of a useless detector.

Users of mean-teacher detectors report losses that are not finite and average precision 0 after burn-in, with small
batches above all (fact sheet, section 8); both begin with losses of pseudo-labels that outgrow all others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor

from services.optimisation.divergence import Diverged, require_finite

_WINDOW: Final = 50
"""Steps that running means are taken over."""


@dataclass(frozen=True, slots=True)
class GuardOptions:
    """Limits.

    Attributes:
        largest_gradient: norm to which gradients are cut.
        largest_ratio: of the losses without labels together, to the loss with labels; above it they are scaled down.
        growth: of the loss with labels over what it was before alignment began, above which adaptation ends.
        most_labels: pseudo-labels of a picture, on average, above which it ends.
        patience: steps in a row without any pseudo-label after which it ends.
    """

    largest_gradient: float = 5.0
    largest_ratio: float = 1.0
    growth: float = 3.0
    most_labels: float = 250.0
    patience: int = 200


@dataclass(slots=True)
class Guard:
    """Watches one run; its state is a part of checkpoints."""

    options: GuardOptions = field(default_factory=GuardOptions)
    before: float | None = None
    """Mean loss with labels when alignment began."""
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    labels: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    without: int = 0
    """Steps since the last pseudo-label."""
    capped: int = 0
    """Steps in which losses were scaled down."""

    def combine(self, supervised: Tensor, others: Tensor) -> Tensor:
        """The sum of both, in which the second is no larger than `largest_ratio` times the first."""
        limit = self.options.largest_ratio * float(supervised.detach())
        size = float(others.detach())
        if size > limit:
            self.capped += 1
            others = others * (limit / size)
        return supervised + others

    def check(self, supervised: float, *, aligning: bool) -> None:
        """Look at the loss of a step.

        Raises:
            Diverged: it is not finite, or has grown far above what it was.
        """
        require_finite(supervised)
        self.losses.append(supervised)
        mean = sum(self.losses) / len(self.losses)
        if not aligning:
            self.before = mean
        elif self.before is not None and len(self.losses) == _WINDOW and mean > self.options.growth * self.before:
            raise Diverged(
                f"The loss on labelled pictures has grown from {self.before:.2f} to {mean:.2f}. Lower the learning "
                "rate or the weights of alignment, or train longer before adaptation."
            )

    def count(self, labels: int, pictures: int) -> None:
        """Look at the pseudo-labels of a step.

        Raises:
            Diverged: there are far too many, or none for long.
        """
        self.labels.append(labels / max(1, pictures))
        self.without = 0 if labels else self.without + 1
        if self.without >= self.options.patience:
            raise Diverged(
                f"For {self.without} steps no object was found in target pictures with enough confidence. Lower "
                "`threshold`, or train longer before adaptation."
            )
        if len(self.labels) == _WINDOW and self.labels_per_picture > self.options.most_labels:
            raise Diverged(
                f"{self.labels_per_picture:.0f} objects are found in each target picture. Raise `threshold`."
            )

    @property
    def labels_per_picture(self) -> float:
        """Mean over the last steps."""
        return sum(self.labels) / len(self.labels) if self.labels else 0.0

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "before": self.before,
            "losses": list(self.losses),
            "labels": list(self.labels),
            "without": self.without,
            "capped": self.capped,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave."""
        self.before, self.without, self.capped = state["before"], state["without"], state["capped"]
        self.losses.clear()
        self.losses.extend(state["losses"])
        self.labels.clear()
        self.labels.extend(state["labels"])
