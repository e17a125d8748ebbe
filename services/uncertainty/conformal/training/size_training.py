"""Training for small sets: ConfTr calibrates within each batch, SCPO trains against a fixed threshold.

- ConfTr: Stutz et al., "Learning optimal conformal classifiers", ICLR 2022.
- SCPO: Bellotti, "Optimized conformal classification using gradient descent approximation", 2021.

Both replace "the score is at most the threshold" by a sigmoid. What they train is calibrated afterwards as any other
classifier, so the guarantee of coverage does not depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from services.uncertainty.conformal.methods.levels import Level, to_level
from services.uncertainty.conformal.training.soft_sorting import soft_quantile
from services.uncertainty.conformal.training.torch_scores import log_scores, of_labels

FLOOR = 1e-8
"""Added before a logarithm: sets of a batch may all be empty."""


def smooth_sets(scores: Tensor, threshold: Tensor | float, temperature: float) -> Tensor:
    """Smooth membership of each label in the set, (N, K) in (0, 1): sigmoid((threshold - score) / temperature)."""
    return torch.sigmoid((threshold - scores) / temperature)


def size_losses(memberships: Tensor, target_size: float = 1.0) -> Tensor:
    """By how much each smooth set (N, K) is larger than the target, (N,), never negative (Stutz et al., equation 4)."""
    return torch.relu(memberships.sum(dim=1) - target_size)


def classification_losses(memberships: Tensor, labels: Tensor, penalties: Tensor | None = None) -> Tensor:
    """One for a missing true label and a penalty for each other label that is in, (N,) (Stutz et al., equation 6).

    Args:
        memberships: smooth sets, (N, K).
        labels: (N,).
        penalties: (K, K), row y for items of label y; the diagonal weighs misses. Where not given only misses count.
    """
    classes = memberships.shape[1]
    matrix = torch.eye(classes, dtype=memberships.dtype) if penalties is None else penalties
    own = torch.nn.functional.one_hot(labels, classes).to(memberships.dtype)
    wrong = own * (1 - memberships) + (1 - own) * memberships
    return (matrix[labels] * wrong).sum(dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfTr:
    """The loss log(mean(classification loss + weight size loss)) of one half of a batch, the other half calibrating.

    Attributes:
        alpha: miscoverage level of the calibration.
        temperature: of the smooth sets, in the unit of the scores.
        sorting_temperature: of the soft quantile, in the unit of the scores.
        weight: of the size loss.
        target_size: labels that cost nothing.
        penalties: see `classification_losses`.
    """

    alpha: Level = "0.1"
    temperature: float = 0.5
    sorting_temperature: float = 0.1
    weight: float = 1.0
    target_size: float = 1.0
    penalties: Tensor | None = None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, a number.

        Args:
            logits: (N, K), N >= 2, in random order: the first half calibrates.
            labels: (N,), of 0..K-1.
        """
        half = len(logits) // 2
        scores = log_scores(logits)
        threshold = soft_quantile(of_labels(scores[:half], labels[:half]), self.alpha, self.sorting_temperature)
        memberships = smooth_sets(scores[half:], threshold, self.temperature)
        missed = classification_losses(memberships, labels[half:], self.penalties)
        costs = missed + self.weight * size_losses(memberships, self.target_size)
        return torch.log(costs.mean() + FLOOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class SCPO:
    """The loss log(mean size + weight (coverage - (1 - alpha))^2) of smooth sets at a threshold that never moves.

    The network's own scale adapts to the threshold. As a rule a linear layer on a frozen network is trained.

    Attributes:
        alpha: miscoverage level.
        threshold: of minus the logarithm of the probability.
        temperature: of the smooth sets.
        weight: of the squared error of coverage.
    """

    alpha: Level = "0.1"
    threshold: float = 1.0
    temperature: float = 0.5
    weight: float = 500.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, a number, of logits (N, K) and labels (N,)."""
        memberships = smooth_sets(log_scores(logits), self.threshold, self.temperature)
        gap = of_labels(memberships, labels).mean() - float(1 - to_level(self.alpha))
        return torch.log(memberships.sum(dim=1).mean() + self.weight * gap.square())
