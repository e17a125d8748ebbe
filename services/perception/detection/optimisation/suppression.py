"""Greedy non-maximum suppression, and the choice of what a detector answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from services.perception.detection.optimisation.boxes import iou_matrix
from services.perception.detection.optimisation.instances import Detections, Predictions


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """Which predictions are answers; the paper's numbers (section 2).

    Attributes:
        score: what scores have to be above, in [0, 1].
        overlap: IoU above which the less sure of two boxes of a class goes.
        most: answers for an image.
        candidates: the surest pairs of a region and a class that suppression is run on.
    """

    score: float = 0.05
    overlap: float = 0.5
    most: int = 100
    candidates: int = 1000


def suppress(boxes: Tensor, scores: Tensor, *, overlap: float, labels: Tensor | None = None) -> Tensor:
    """Which boxes stay when each box in order of its score removes those that it overlaps.

    All boxes are judged at once from those that are known to stay so far, until nothing changes: that is the greedy
    answer, since round k settles every box that depends on fewer than k others (Zheng et al. 2021, Cluster-NMS).

    Args:
        boxes: float32 (n, 4).
        scores: float32 (n,).
        overlap: IoU above which a box is removed.
        labels: int64 (n,); with them, boxes only remove those of their class.

    Returns:
        Indices of those that stay, int64, falling scores; of equal scores the first comes first.
    """
    order = scores.argsort(descending=True, stable=True)
    sorted_boxes = boxes[order]
    removes = iou_matrix(sorted_boxes, sorted_boxes) > overlap
    if labels is not None:
        removes &= labels[order, None] == labels[order]
    removed_by = removes.triu(diagonal=1).T.to(torch.float32)
    stays = torch.ones_like(scores)
    while True:
        settled = (removed_by @ stays == 0).to(torch.float32)
        if torch.equal(settled, stays):
            return order[stays.bool()]
        stays = settled


def select(predictions: Predictions, options: DetectionOptions) -> Detections:
    """Those predictions of an image that are answers: score threshold, suppression in each class, the surest."""
    chosen = predictions.scores > options.score
    regions, labels = chosen.nonzero(as_tuple=True)
    scores = predictions.scores[regions, labels]
    boxes = predictions.boxes[regions] if predictions.boxes.ndim == 2 else predictions.boxes[regions, labels]
    if len(scores) > options.candidates:
        scores, surest = scores.topk(options.candidates)
        boxes, labels = boxes[surest], labels[surest]
    kept = suppress(boxes, scores, overlap=options.overlap, labels=labels)[: options.most]
    return Detections(boxes[kept], scores[kept], labels[kept])
