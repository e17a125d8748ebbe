"""What a released file finds, by the way that the service takes: letterbox, onnxruntime, suppression."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from services.perception.detection.coco_metrics import LOWEST_SCORE
from services.perception.detection.optimisation import instances
from services.perception.detection.training.data import DetectionSet
from shared.detectors.detections import Detections
from shared.detectors.inference import Selection, detect_blocking, see
from shared.detectors.models import Detector, read_detector
from shared.runtime.cards import UploadedCard
from shared.runtime.models.sessions import OnnxModel


def open_served(content: bytes, card: UploadedCard, *, threads: int = 1) -> Detector:
    """A file as the service opens it, by its card."""
    return read_detector(OnnxModel(card, content, threads=threads))


def detect_served(detector: Detector, data: DetectionSet) -> list[Detections]:
    """What is found on each picture of a set from low scores on, boxes in its pixels."""
    selection = Selection(LOWEST_SCORE, detector.role.iou_threshold, detector.role.limit)
    return [detect_blocking(see(image, detector), detector, selection) for image in data.images]


def as_tensors(found: Sequence[Detections]) -> list[instances.Detections]:
    """Detections as training and its measure have them."""
    return [
        instances.Detections(*(torch.from_numpy(part) for part in (one.boxes, one.scores, one.labels))) for one in found
    ]
