"""The choice of what a detector answers."""

from __future__ import annotations

from dataclasses import dataclass

from services.optimisation.overlaps import suppress
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
