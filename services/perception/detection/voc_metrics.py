"""Pascal VOC's average precision, as of 2010 to 2012 (VOC2012 development kit, VOCevaldet.m and VOCap.m).

Area under the curve of precision against recall, after precision is made to fall only. COCO's AP50 is another one: it
samples the curve at 101 recalls, lets a detection take the best object that is still free, counts at most 100
detections, and passes over crowds rather than difficult objects. Papers on domain adaptation state this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.perception.detection.annotations.model import AnnotatedPicture, AnnotatedSet
from shared.detectors.detections import Detections, intersection_over_union

WRONG, RIGHT, PASSED = range(3)
"""What becomes of a detection; one that is passed over counts for nothing."""

THRESHOLD: Final = 0.5
"""Intersection over union from which on a detection is right."""


@dataclass(frozen=True, slots=True)
class VocPrecision:
    """Average precision of Pascal VOC, in [0, 1].

    Attributes:
        mean: over the classes that have objects; None if none has.
        classes: by label; None for a class without objects.
    """

    mean: float | None
    classes: tuple[float | None, ...]


def measure_voc(
    found: Mapping[str, Detections], annotated: AnnotatedSet, *, iou_threshold: float = THRESHOLD
) -> VocPrecision:
    """Compare detections with annotations, as Pascal VOC does.

    A detection belongs to the object of its class that it overlaps most. It is right if it overlaps it enough and no
    better detection did; it counts for nothing if the object is difficult, or a crowd.

    Args:
        found: by name of the picture, with labels of the set; on pictures that are not named nothing was found. Of
            equal scores the one on the earlier picture comes first.
        annotated: the set.
        iou_threshold: see THRESHOLD.
    """
    classes = tuple(
        _measure_class(found, annotated, label, iou_threshold) for label in range(len(annotated.class_names))
    )
    stated = [one for one in classes if one is not None]
    return VocPrecision(float(np.mean(stated)) if stated else None, classes)


def area_under_curve(right: NDArray[np.bool_], objects: int) -> float:
    """Average precision of detections from the best to the worst.

    Args:
        right: (N,), whether each found an object that none before it did.
        objects: that there are to be found, at least one.
    """
    hits = np.cumsum(right)
    recall = np.concatenate([[0.0], hits / objects, [1.0]])
    precision = np.concatenate([[0.0], hits / np.arange(1, len(right) + 1), [0.0]])
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * falling[1:]))


def _measure_class(
    found: Mapping[str, Detections], annotated: AnnotatedSet, label: int, threshold: float
) -> float | None:
    objects = 0
    scores: list[NDArray[np.float32]] = []
    outcomes: list[NDArray[np.int64]] = []
    for name, picture in annotated.pictures.items():
        own = picture.labels == label
        objects += int(np.count_nonzero(own & ~passed_over(picture)))
        detections = found.get(name, Detections.none())
        detections = detections.take(detections.labels == label).best(len(detections))
        scores.append(detections.scores)
        outcomes.append(match_objects(detections, picture.boxes[own], passed_over(picture)[own], threshold))
    if not objects:
        return None
    order = np.argsort(-np.concatenate(scores), kind="stable")
    outcome = np.concatenate(outcomes)[order]
    return area_under_curve(outcome[outcome != PASSED] == RIGHT, objects)


def match_objects(
    detections: Detections, boxes: NDArray[np.float64], passed: NDArray[np.bool_], threshold: float
) -> NDArray[np.int64]:
    """What becomes of each detection of one class on one picture: RIGHT, WRONG or PASSED.

    Args:
        detections: from the best to the worst.
        boxes: float64 (N, 4), the objects of the class.
        passed: bool (N,), those of them that count for nothing.
        threshold: intersection over union from which on a detection is right.

    Returns:
        int64, one for each detection.
    """
    outcomes = np.full(len(detections), WRONG, np.int64)
    if not len(boxes):
        return outcomes
    overlaps = intersection_over_union(detections.boxes.astype(np.float64), boxes)
    taken = np.zeros(len(boxes), np.bool_)
    for index, row in enumerate(overlaps):
        place = int(row.argmax())
        if row[place] < threshold:
            continue
        if passed[place]:
            outcomes[index] = PASSED
        elif not taken[place]:
            taken[place] = True
            outcomes[index] = RIGHT
    return outcomes


def passed_over(picture: AnnotatedPicture) -> NDArray[np.bool_]:
    """Which objects of a picture need not be found: difficult ones and crowds; bool (N,)."""
    return picture.difficult | picture.crowd
