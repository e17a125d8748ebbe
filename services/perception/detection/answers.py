"""Detections as JSON, in the fleet's own layout or in COCO's, and as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.perception.detection.drawing import draw_detections
from services.perception.detection.panels import fit, mosaic
from services.perception.detection.schemas import (
    CocoAnnotation,
    CocoAnswer,
    CocoCategory,
    CocoImage,
    CocoInfo,
    DetectedPicture,
    Detection,
    DetectionAnswer,
    SelectionUsed,
)
from services.perception.detection.writing import coco_results
from shared.detectors.detections import Detections
from shared.detectors.inference import Selection
from shared.detectors.models import Detector
from shared.imaging.pictures import encode_png
from shared.imaging.sheets import Panel


@dataclass(frozen=True, slots=True, eq=False)
class FoundObjects:
    """A picture with what was found on it.

    Attributes:
        height: of the posted picture, upright, in pixels.
        width: of it.
        detections: in its pixels.
        pixels: to draw on, uint8 RGB of the picture's shape or smaller; None where nothing is to be drawn.
    """

    height: int
    width: int
    detections: Detections
    pixels: NDArray[np.uint8] | None = None


def describe_facet(found: Sequence[FoundObjects], detector: Detector, selection: Selection) -> DetectionAnswer:
    """Picture by picture."""
    names = detector.role.classes
    return DetectionAnswer(
        pictures=[
            DetectedPicture(index=index, width=one.width, height=one.height, detections=_list(one.detections, names))
            for index, one in enumerate(found)
        ],
        **_origin(detector, selection),
    )


def describe_coco(found: Sequence[FoundObjects], detector: Detector, selection: Selection) -> CocoAnswer:
    """One document."""
    role = detector.role
    results = coco_results(
        ((number, one.detections) for number, one in enumerate(found, 1)), category_ids=role.categories
    )
    return CocoAnswer(
        info=CocoInfo(description="Objects that a detector found", **_origin(detector, selection)),
        images=[CocoImage(id=number, width=one.width, height=one.height) for number, one in enumerate(found, 1)],
        annotations=[
            CocoAnnotation(id=number, area=one["bbox"][2] * one["bbox"][3], **one)
            for number, one in enumerate(results, 1)
        ],
        categories=[CocoCategory(id=id_, name=name) for id_, name in zip(role.categories, role.classes, strict=True)],
    )


def draw(found: Sequence[FoundObjects], detector: Detector) -> bytes:
    """A PNG: the picture with its boxes, or several pictures side by side, each as large as its panel."""
    names = detector.role.classes
    drawn = [draw_on(one, names) for one in found]
    if len(drawn) == 1:
        return encode_png(drawn[0])
    panels = [Panel(pixels, _caption(index, found[index].detections)) for index, pixels in enumerate(drawn)]
    return encode_png(mosaic(panels))


def draw_on(found: FoundObjects, names: Sequence[str]) -> NDArray[np.uint8]:
    """The picture with its boxes, uint8 RGB of the shape of what is drawn on."""
    assert found.pixels is not None  # noqa: S101 - kept where something is to be drawn
    height, width = found.pixels.shape[:2]
    factors = np.array([width / found.width, height / found.height] * 2, np.float32)
    one = found.detections
    return draw_detections(found.pixels, Detections(one.boxes * factors, one.scores, one.labels), names)


def small(found: FoundObjects) -> FoundObjects:
    """The same with pixels that fit into a panel, which take little memory."""
    assert found.pixels is not None  # noqa: S101 - kept where something is to be drawn
    return FoundObjects(found.height, found.width, found.detections, fit(found.pixels))


def _origin(detector: Detector, selection: Selection) -> dict[str, Any]:
    used = SelectionUsed(
        score_threshold=selection.score_threshold, iou_threshold=selection.iou_threshold, limit=selection.limit
    )
    return {"selection": used, "model": detector.reference, "caveats": list(detector.caveats)}


def _list(detections: Detections, names: Sequence[str]) -> list[Detection]:
    columns = (detections.boxes.tolist(), detections.labels.tolist(), detections.scores.tolist())
    return [
        Detection(box=box, class_id=label, class_name=names[label], score=score)
        for box, label, score in zip(*columns, strict=True)
    ]


def _caption(index: int, detections: Detections) -> str:
    count = len(detections)
    return f"{index}: {count} object{'' if count == 1 else 's'}"
