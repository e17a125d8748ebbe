"""What detectors learn from and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Maps: TypeAlias = tuple[Tensor, ...]
"""Feature maps of a batch, the finest first, each float32 (batch, channels, height / stride, width / stride)."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The objects in one image.

    Attributes:
        boxes: float32 (objects, 4), left, top, right, bottom in pixels.
        labels: int64 (objects,), number of the class from 0 on.
        unsure: float32 (n, 4), places that may hold an object: what lies on them is neither learned as one nor as
            background; None where all objects are known.
    """

    boxes: Tensor
    labels: Tensor
    unsure: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Targets:
        """The same on a device."""
        unsure = None if self.unsure is None else self.unsure.to(device)
        return Targets(self.boxes.to(device), self.labels.to(device), unsure)


@dataclass(frozen=True, slots=True)
class Predictions:
    """All that a detector says of one image, before thresholds and non-maximum suppression.

    Attributes:
        boxes: float32 (regions, 4), or (regions, classes, 4) where each class has a box of its own; in pixels.
        scores: float32 (regions, classes), in [0, 1].
    """

    boxes: Tensor
    scores: Tensor


@dataclass(frozen=True, slots=True)
class Detections:
    """The objects found in one image, the surest first.

    Attributes:
        boxes: float32 (objects, 4), left, top, right, bottom in pixels.
        scores: float32 (objects,), in [0, 1].
        labels: int64 (objects,), number of the class from 0 on.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def above(self, score: float) -> Detections:
        """Those with a larger score."""
        kept = self.scores > score
        return Detections(self.boxes[kept], self.scores[kept], self.labels[kept])

    def as_targets(self, threshold: float) -> Targets:
        """Pseudo-labels: boxes and classes of those with a larger score, without gradients; the others are unsure."""
        sure = self.scores > threshold
        boxes = self.boxes.detach()
        return Targets(boxes[sure], self.labels[sure], boxes[~sure])
