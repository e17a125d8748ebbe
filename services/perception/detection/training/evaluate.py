"""COCO's average precision of a detector (faster-coco-eval, which computes what pycocotools does).

`AP` is the mean over IoU 0.50 to 0.95, `AP50` and `AP75` are of one IoU each. The paper's figure is AP50 with the whole
area under the curve (Pascal VOC 2012); COCO's takes 101 points of it.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from services.perception.detection.optimisation.batches import pad_images, to_image
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.instances import Detections
from services.perception.detection.optimisation.suppression import DetectionOptions
from services.perception.detection.training.data import DetectionSet

LOW: Final = DetectionOptions(score=0.01)
"""For a curve down to low precision."""

_AREA_OF_ALL_SIZES, _MOST_DETECTIONS = 0, -1
"""Places in COCO's table."""


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Figures in [0, 1]; `nan` where there are no objects.

    Attributes:
        ap: mean over IoU from 0.50 to 0.95.
        ap50: at IoU 0.50.
        ap75: at IoU 0.75.
    """

    ap: float
    ap50: float
    ap75: float

    def as_dict(self) -> dict[str, float]:
        """By the names that are usual, four places."""
        return {"AP": round(self.ap, 4), "AP50": round(self.ap50, 4), "AP75": round(self.ap75, 4)}


@dataclass(frozen=True, slots=True)
class DetectionFigures:
    """What a detector is worth on a set.

    Attributes:
        mean: over the classes that have objects.
        classes: of each class by name.
    """

    mean: AveragePrecision
    classes: dict[str, AveragePrecision]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return self.mean.as_dict() | {"classes": {name: one.as_dict() for name, one in self.classes.items()}}


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
        ModuleNotFoundError: faster-coco-eval is not installed.
        ValueError: there are not as many as pictures.
    """
    if len(data) != len(detections):
        raise ValueError(f"{len(data)} pictures, detections in {len(detections)}")
    precision = _precision(_described(data), _listed(data, detections))
    classes = {name: _of_table(precision[:, :, index]) for index, name in enumerate(data.classes)}
    return DetectionFigures(_of_table(precision), classes)


def evaluate(detector: Detector, data: DetectionSet) -> DetectionFigures:
    """Figures of a detector on a set."""
    return average_precision(data, detect_set(detector, data))


def _of_table(precision: NDArray[np.float64]) -> AveragePrecision:
    """Means of precision (IoU thresholds, recalls, ...), in which -1 says that there are no objects."""

    def mean(chosen: NDArray[np.float64]) -> float:
        known = chosen[chosen >= 0]
        return float(known.mean()) if known.size else float("nan")

    return AveragePrecision(mean(precision), mean(precision[0]), mean(precision[5]))


def _precision(described: dict[str, Any], listed: list[dict[str, Any]]) -> NDArray[np.float64]:
    """Precision (IoU 0.50 to 0.95, 101 recalls, classes)."""
    from faster_coco_eval import COCO, COCOeval_faster  # needed here alone

    if not listed:
        return _precision_of_nothing(described)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(described)
        evaluation = COCOeval_faster(truth, truth.loadRes(listed), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    table: NDArray[np.float64] = np.asarray(evaluation.eval["precision"])
    return table[:, :, :, _AREA_OF_ALL_SIZES, _MOST_DETECTIONS]


def _precision_of_nothing(described: dict[str, Any]) -> NDArray[np.float64]:
    """The library reads no empty list: precision is 0 where there are objects."""
    present = {one["category_id"] for one in described["annotations"]}
    of_classes = [0.0 if one["id"] in present else -1.0 for one in described["categories"]]
    return np.broadcast_to(np.array(of_classes), (10, 101, len(of_classes)))


def _described(data: DetectionSet) -> dict[str, Any]:
    """A set as COCO writes it, in pixels of its files, whose areas count for sizes."""
    annotations: list[dict[str, Any]] = []
    for image, (targets, scale) in enumerate(zip(data.targets, data.scales, strict=True)):
        for box, label in zip(_corner_and_size(targets.boxes / scale), targets.labels.tolist(), strict=True):
            known = {"id": len(annotations) + 1, "image_id": image, "category_id": label + 1}
            annotations.append(known | {"bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    images = [
        {"id": index, "height": pixels.shape[0], "width": pixels.shape[1]} for index, pixels in enumerate(data.images)
    ]
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(data.classes)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _listed(data: DetectionSet, detections: Sequence[Detections]) -> list[dict[str, Any]]:
    listed = []
    for image, (found, scale) in enumerate(zip(detections, data.scales, strict=True)):
        boxes = _corner_and_size(found.boxes / scale)
        for box, score, label in zip(boxes, found.scores.tolist(), found.labels.tolist(), strict=True):
            listed.append({"image_id": image, "category_id": label + 1, "bbox": box, "score": score})
    return listed


def _corner_and_size(boxes: torch.Tensor) -> list[list[float]]:
    return torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), dim=1).tolist()
