"""COCO's average precision of a network on a set of training or test pictures.

`AP` is the mean over IoU 0.50 to 0.95, `AP50` and `AP75` are of one IoU each. The paper's figure is AP50 with the whole
area under the curve (Pascal VOC 2012); COCO's takes 101 points of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from services.perception.detection.annotations.model import AnnotatedPicture, AnnotatedSet, BoxFaults
from services.perception.detection.coco_metrics import LOWEST_SCORE, CocoMetrics, measure_coco
from services.perception.detection.optimisation.batches import pad_images, to_image
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.instances import Detections
from services.perception.detection.optimisation.suppression import DetectionOptions
from services.perception.detection.training.data import DetectionSet
from shared.detectors import detections as served

LOW: Final = DetectionOptions(score=LOWEST_SCORE)


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Means over classes in [0, 1]; `nan` where there are no objects.

    Attributes:
        ap: mean over IoU from 0.50 to 0.95.
        ap50: at IoU 0.50.
        ap75: at IoU 0.75.
    """

    ap: float
    ap50: float
    ap75: float

    def as_dict(self) -> dict[str, float | None]:
        """By the names that are usual, four places."""
        return {"AP": _rounded(self.ap), "AP50": _rounded(self.ap50), "AP75": _rounded(self.ap75)}


@dataclass(frozen=True, slots=True)
class DetectionFigures:
    """What a detector is worth on a set.

    Attributes:
        metrics: in [0, 1]; None where there are no objects.
    """

    metrics: CocoMetrics

    @property
    def mean(self) -> AveragePrecision:
        """Over the classes that have objects."""
        found = (self.metrics.ap, self.metrics.ap50, self.metrics.ap75)
        return AveragePrecision(*(math.nan if value is None else value for value in found))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return self.mean.as_dict() | {
            "classes": {
                one.name: {"AP": _rounded(one.ap), "AP50": _rounded(one.ap50), "objects": one.objects}
                for one in self.metrics.classes
            }
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 4)


def detect_set(
    detector: Detector, data: DetectionSet, options: DetectionOptions = LOW, *, batch: int = 4
) -> list[Detections]:
    """Detections in each picture, boxes in pixels of its image."""
    detector.eval()
    device = next(detector.parameters()).device
    found: list[Detections] = []
    for start in range(0, len(data), batch):
        images = pad_images([to_image(image) for image in data.images[start : start + batch]])
        found += detector.detect(images.to(device), options)
    return found


def average_precision(data: DetectionSet, detections: Sequence[Detections]) -> DetectionFigures:
    """Figures of detections in a set, one for each picture in the same order.

    Raises:
        ValueError: there are not as many as pictures.
    """
    if len(data) != len(detections):
        raise ValueError(f"{len(data)} pictures, detections in {len(detections)}")
    found = {
        str(place): served.Detections(
            _in_file(one.boxes, scale).astype(np.float32), one.scores.cpu().numpy(), one.labels.cpu().numpy()
        )
        for place, (one, scale) in enumerate(zip(detections, data.scales, strict=True))
    }
    return DetectionFigures(measure_coco(found, annotated_set(data)))


def evaluate(detector: Detector, data: DetectionSet) -> DetectionFigures:
    """Figures of a detector on a set."""
    return average_precision(data, detect_set(detector, data))


def annotated_set(data: DetectionSet) -> AnnotatedSet:
    """The objects of a set in pixels of its files, whose areas count for sizes; pictures are named by their places."""
    pictures = {}
    for place, (image, targets, scale) in enumerate(zip(data.images, data.targets, data.scales, strict=True)):
        boxes = _in_file(targets.boxes, scale)
        none = np.zeros(len(boxes), bool)
        pictures[str(place)] = AnnotatedPicture(
            name=str(place),
            image_id=place,
            width=round(image.shape[1] / scale),
            height=round(image.shape[0] / scale),
            boxes=boxes,
            labels=targets.labels.numpy(),
            areas=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            crowd=none,
            difficult=none,
        )
    return AnnotatedSet(pictures, data.classes, tuple(range(1, len(data.classes) + 1)), BoxFaults())


def _in_file(boxes: torch.Tensor, scale: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return boxes.cpu().numpy().astype(np.float64).reshape(-1, 4) / scale
