"""Overlaps of boxes and greedy non-maximum suppression; boxes are float32 (..., 4), left, top, right, bottom."""

from __future__ import annotations

import torch
from torch import Tensor


def areas(boxes: Tensor) -> Tensor:
    """Areas in square pixels, (...)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou_matrix(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of each box with each: (m, 4) and (n, 4) to (m, n) in [0, 1]; 0 where both are empty."""
    width = torch.minimum(one[:, None, 2], other[:, 2]) - torch.maximum(one[:, None, 0], other[:, 0])
    height = torch.minimum(one[:, None, 3], other[:, 3]) - torch.maximum(one[:, None, 1], other[:, 1])
    shared = width.clamp(min=0) * height.clamp(min=0)
    return shared / (areas(one)[:, None] + areas(other) - shared).clamp(min=1e-9)


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
