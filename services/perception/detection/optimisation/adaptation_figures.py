"""What can be said of a detector while it is adapted: average precision of labelled sets, and pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.perception.detection.adaptation_schemas import ClassFigures, SetFigures
from services.perception.detection.coco_metrics import LOWEST_SCORE, measure_coco
from services.perception.detection.drawing import draw_detections
from services.perception.detection.optimisation.archived_pictures import LabelledArchive
from services.perception.detection.optimisation.batches import pad_images, to_image
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.suppression import DetectionOptions
from shared.detectors.detections import Detections
from shared.imaging.sheets import Panel, sheet

_LOW: Final = DetectionOptions(score=LOWEST_SCORE)
SHOWN_SCORE: Final = 0.5


def detect_picture(detector: Detector, picture: NDArray[np.uint8], options: DetectionOptions) -> Detections:
    """The objects in one picture uint8 (height, width, 3), boxes in its pixels."""
    found = detector.detect(pad_images([to_image(picture)]), options)[0]
    height, width = picture.shape[:2]
    boxes = found.boxes.numpy().clip(0, np.array([width, height] * 2, np.float32))
    return Detections(boxes.astype(np.float32), found.scores.numpy().astype(np.float32), found.labels.numpy())


def measure(detector: Detector, labelled: LabelledArchive) -> SetFigures:
    """COCO's average precision on a set."""
    detector.eval()
    found = {}
    for name, pixels in zip(labelled.images.names, labelled.images, strict=True):
        one, posted = detect_picture(detector, pixels, _LOW), labelled.annotated.pictures[name]
        factors = np.array([posted.width / pixels.shape[1], posted.height / pixels.shape[0]] * 2, np.float32)
        found[name] = Detections(one.boxes * factors, one.scores, one.labels)
    metrics = measure_coco(found, labelled.annotated)
    return SetFigures(
        pictures=len(labelled),
        ap=metrics.ap,
        ap50=metrics.ap50,
        ap75=metrics.ap75,
        classes=[ClassFigures(name=one.name, objects=one.objects, ap=one.ap, ap50=one.ap50) for one in metrics.classes],
    )


def draw_side_by_side(
    detectors: Sequence[tuple[str, Detector]],
    pictures: Sequence[NDArray[np.uint8]],
    class_names: Sequence[str],
    *,
    score: float = SHOWN_SCORE,
) -> NDArray[np.uint8]:
    """What detectors find in pictures, a row for each picture and a column for each detector.

    Args:
        detectors: each with what stands below its column.
        pictures: uint8 (height, width, 3); all are drawn as large as the first.
        class_names: by label.
        score: from which on a detection is drawn.
    """
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    rows = []
    for picture in pictures:
        row = []
        for caption, detector in detectors:
            found = detect_picture(detector.eval(), picture, DetectionOptions(score=score))
            drawn = draw_detections(picture, found, class_names)
            canvas = np.full((height, width, 3), 255, np.uint8)
            canvas[: drawn.shape[0], : drawn.shape[1]] = drawn
            row.append(Panel(canvas, f"{caption}: {len(found.scores)} above {score:g}"))
        rows.append(row)
    return sheet(rows)
