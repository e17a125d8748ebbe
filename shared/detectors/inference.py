"""From a picture to the objects on it: lay into a bucket, run, suppress, map back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.detectors.detections import Detections, suppress_overlaps
from shared.detectors.letterboxing import Letterboxed, letterbox
from shared.detectors.models import Detector
from shared.detectors.roles import BOXES, IMAGE, SCORES
from shared.inference_protocol.failures import computation_failures
from shared.problems import Problem, field_problem
from shared.runtime.inspection.failure_reasons import reason_of
from shared.telemetry.timing import timed

CANDIDATES: Final = 1000
"""The surest pairs of a region and a class that suppression is run on, as in training."""

_ROUNDING: Final = 1e-3
"""How far beyond [0, 1] a score may be and count as 0 or 1."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a detector's output is answered.

    Attributes:
        score_threshold: least score, in [0, 1].
        iou_threshold: intersection over union above which the less sure of two boxes of a class goes.
        limit: most detections of a picture, the surest.
        labels: classes that are wanted; all if None.
    """

    score_threshold: float
    iou_threshold: float
    limit: int
    labels: frozenset[int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SeenPicture:
    """A posted picture as a detector sees it.

    Attributes:
        pixels: uint8 RGB (height, width, 3) as it was posted, upright.
        letterboxed: the same in its bucket.
        tensor: what the graph takes, float32 (1, 3, height, width) in [0, 1].
    """

    pixels: NDArray[np.uint8]
    letterboxed: Letterboxed
    tensor: NDArray[np.float32]


def see(pixels: NDArray[np.uint8], detector: Detector) -> SeenPicture:
    """A decoded picture, uint8 RGB (height, width, 3), scaled as the detector wants it."""
    letterboxed = letterbox(pixels, detector.buckets)
    planes = letterboxed.pixels.transpose(2, 0, 1)[None]
    return SeenPicture(pixels, letterboxed, np.ascontiguousarray(planes, dtype=np.float32) / np.float32(255))


def detect_blocking(picture: SeenPicture, detector: Detector, selection: Selection) -> Detections:
    """Objects on a picture, in its pixels, the surest first. Blocks.

    Raises:
        UnprocessableContent: the model cannot compute the picture, or answers what are no detections.
    """
    try:
        answered = detector.model.run({IMAGE: picture.tensor})
    except computation_failures() as failure:
        raise failed(detector, reason_of(failure)) from None
    return finish(answered, picture.letterboxed, detector, selection)


def finish(
    answered: Sequence[NDArray[Any]], letterboxed: Letterboxed, detector: Detector, selection: Selection
) -> Detections:
    """What of a graph's outputs is answered, in pixels of the posted picture, the surest first.

    Boxes are cut off at the picture's edges; those of which nothing is left lay in what was added around it.

    Args:
        answered: boxes and scores of one picture.
        letterboxed: the picture.
        detector: that answered.
        selection: what is wanted.

    Raises:
        UnprocessableContent: they are no detections.
    """
    with timed("post"):
        candidates = _candidates(*_checked(answered, detector), selection)
        kept = suppress_overlaps(candidates, iou_threshold=selection.iou_threshold)
        boxes = letterboxed.to_posted(kept.boxes)
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Detections(boxes, kept.scores, kept.labels).take(inside).best(selection.limit)


def failed(detector: Detector, reason: str) -> Problem:
    """What is said of a model that does not compute what its card promises."""
    return field_problem("/body/model", f"{detector.reference.name} fails on this picture: {reason}.")


def _checked(answered: Sequence[NDArray[Any]], detector: Detector) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes (regions, 4) or (regions, classes, 4) and scores (regions, classes), if they are that."""
    boxes, scores = answered
    regions, classes = scores.size // len(detector.role.classes), len(detector.role.classes)
    if scores.shape != (regions, classes) or boxes.shape not in {(regions, 4), (regions, classes, 4)}:
        raise failed(detector, f"its {BOXES} have the shape {boxes.shape}, and its {SCORES} {scores.shape}")
    with np.errstate(invalid="ignore"):
        beyond = (scores < -_ROUNDING) | (scores > 1 + _ROUNDING)
    if beyond.any():
        raise failed(detector, f"its {SCORES} are not between 0 and 1")
    return boxes, np.clip(scores, 0, 1)


def _candidates(boxes: NDArray[np.float32], scores: NDArray[np.float32], selection: Selection) -> Detections:
    """Pairs of a region and a class that are sure enough and wanted, the surest first."""
    chosen = scores >= np.float32(selection.score_threshold)  # NaN is not
    if selection.labels is not None:
        chosen[:, [label for label in range(scores.shape[1]) if label not in selection.labels]] = False
    finite = np.asarray(np.isfinite(boxes).all(axis=-1))
    chosen &= finite if finite.ndim == 2 else finite[:, None]
    regions, labels = np.nonzero(chosen)
    found = boxes[regions] if boxes.ndim == 2 else boxes[regions, labels]
    return Detections(found, scores[regions, labels], labels.astype(np.int64)).best(CANDIDATES)
