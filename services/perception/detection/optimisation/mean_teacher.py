"""A teacher that is the running mean of its student, and what it says of pictures without labels (paper, section 5)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.instances import Targets
from services.perception.detection.optimisation.suppression import DetectionOptions


def make_teacher(student: Detector) -> Detector:
    """A copy that learns by `follow` alone."""
    teacher = copy.deepcopy(student).eval()
    return teacher.requires_grad_(False)


@torch.no_grad()
def follow(teacher: Detector, student: Detector, decay: float) -> None:
    """Move the teacher towards its student: `decay` of the teacher stays.

    Statistics of normalisation are averaged like weights; whole numbers, which are counters, are copied.
    """
    known = student.state_dict()
    for name, value in teacher.state_dict().items():
        if value.is_floating_point():
            value.lerp_(known[name], 1 - decay)
        else:
            value.copy_(known[name])


@torch.no_grad()
def label_pictures(
    teacher: Detector, images: Tensor, *, threshold: float, unsure: float | None = None, most: int = 300
) -> list[Targets]:
    """Pseudo-labels: what the teacher finds with a score above a threshold.

    Args:
        teacher: of `make_teacher`.
        images: weak views, float32 (batch, 3, height, width).
        threshold: lowest score.
        unsure: lowest score of what is no background either (as of `Targets.unsure`); the threshold for None.
        most: objects of a picture, the surest.
    """
    lowest = threshold if unsure is None else min(unsure, threshold)
    found = teacher.detect(images, DetectionOptions(score=lowest, most=most))
    return [one.as_targets(threshold) for one in found]
