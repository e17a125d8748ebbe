"""What a detector found on one picture, and the steps every detector's output goes through: thresholds and non-maximum
suppression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", np.float32, np.float64)

Boxes = NDArray[np.float32]
"""(N, 4): left, top, right and bottom edge, in pixels from the picture's upper left corner; half-open, so that a box
over the whole picture is (0, 0, width, height)."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects found on one picture.

    Attributes:
        boxes: float32 (N, 4), edges in pixels of the picture as it was posted (upright, EXIF orientation applied).
        scores: float32 (N,), in [0, 1]; larger is surer.
        labels: int64 (N,), numbers of classes from 0.

    Raises:
        ValueError: other shapes or dtypes.
    """

    boxes: Boxes
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(self.boxes)
        wanted = ((self.boxes, np.float32, (count, 4)), (self.scores, np.float32, (count,)))
        for array, dtype, shape in (*wanted, (self.labels, np.int64, (count,))):
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"expected {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}")

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls) -> Detections:
        """A picture on which nothing was found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def take(self, places: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """Some of them, by index or by mask."""
        return Detections(self.boxes[places], self.scores[places], self.labels[places])

    def scored_at_least(self, threshold: float) -> Detections:
        """Those with a score of `threshold` or more, in their order."""
        return self.take(self.scores >= np.float32(threshold))

    def best(self, limit: int) -> Detections:
        """At most `limit` of them, the highest score first; of equal scores the earlier one."""
        return self.take(np.argsort(-self.scores, kind="stable")[:limit])


def suppress_overlaps(
    detections: Detections, *, iou_threshold: float, limit_per_class: int | None = None
) -> Detections:
    """Greedy non-maximum suppression within each class.

    The best box of a class stays, and all of that class that overlap it by more than the threshold go; then the best of
    what is left, and so on. Equals the operator NonMaxSuppression of ONNX in onnxruntime, also in its float32 rounding.

    Args:
        detections: in any order.
        iou_threshold: intersection over union, in [0, 1], above which the lower score goes.
        limit_per_class: most boxes of a class that stay; all if None.

    Returns:
        What stays, the highest score first; of equal scores the earlier one.
    """
    kept: list[int] = []
    for label in np.unique(detections.labels):
        places = np.flatnonzero(detections.labels == label)
        order = places[np.argsort(-detections.scores[places], kind="stable")]
        stays = _suppress(detections.boxes[order], np.float32(iou_threshold), limit_per_class)
        kept.extend(order[stays].tolist())
    return detections.take(np.array(sorted(kept), np.intp)).best(len(kept))


def intersection_over_union(boxes: NDArray[Real], others: NDArray[Real]) -> NDArray[Real]:
    """Overlap of each of (N, 4) boxes with each of (M, 4) others, (N, M) in [0, 1]; 0 where a box has no area."""
    left_top = np.maximum(boxes[:, None, :2], others[None, :, :2])
    right_bottom = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    sides = np.maximum(right_bottom - left_top, 0)
    intersection = sides[..., 0] * sides[..., 1]
    areas, other_areas = _areas(boxes)[:, None], _areas(others)[None]
    union = areas + other_areas - intersection
    valid = (areas > 0) & (other_areas > 0) & (union > 0)
    overlap: NDArray[Real] = np.divide(intersection, union, out=np.zeros_like(intersection), where=valid)
    return overlap


def _suppress(boxes: Boxes, threshold: np.float32, limit: int | None) -> list[int]:
    """Places of the boxes that stay, of boxes from the best to the worst."""
    kept: list[int] = []
    waiting = np.arange(len(boxes))
    while len(waiting) and (limit is None or len(kept) < limit):
        best, waiting = int(waiting[0]), waiting[1:]
        kept.append(best)
        overlap = intersection_over_union(boxes[best : best + 1], boxes[waiting])[0]
        waiting = waiting[overlap <= threshold]
    return kept


def _areas(boxes: NDArray[Real]) -> NDArray[Real]:
    area: NDArray[Real] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area
