"""COCO's measures of a detector (https://cocodataset.org/#detection-eval), by faster-coco-eval.

A detection counts as right if it overlaps an object of its class by an intersection over union of at least a threshold.
AP is the mean over the thresholds 0.5, 0.55, ... 0.95, AP50 is that of 0.5 alone: the two are often mixed up, and the
second is about twice the first. COCO writes -1 where a class has no objects; here it is None, and no mean counts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.perception.detection.annotations.model import AnnotatedSet
from shared.detectors.detections import Detections

LOWEST_SCORE: Final = 0.01
"""Of detections that are measured, wherever that is: the curve of precision goes on to where it is low."""

_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_ONE, _TEN, _HUNDRED = range(3)
_FIFTY: Final = 0
_SEVENTY_FIVE: Final = 5


@dataclass(frozen=True, slots=True)
class ClassPrecision:
    """How well the objects of one class are found.

    Attributes:
        name: of the class.
        objects: annotated ones, without crowds.
        ap: mean over IoU thresholds 0.5 to 0.95, in [0, 1]; None without objects.
        ap50: at an IoU of 0.5.
    """

    name: str
    objects: int
    ap: float | None
    ap50: float | None


@dataclass(frozen=True, slots=True)
class CocoMetrics:
    """The measures of COCO, each in [0, 1], or None where nothing was there to be found.

    Attributes:
        ap: average precision, mean over classes and over the IoU thresholds 0.5 to 0.95 in steps of 0.05.
        ap50: at an IoU of 0.5.
        ap75: at an IoU of 0.75.
        ap_small: of objects of less than 32 x 32 pixels.
        ap_medium: of objects between.
        ap_large: of objects of more than 96 x 96 pixels.
        ar1: average recall of the best detection of each class on each picture, over the same thresholds.
        ar10: of the best ten.
        ar100: of the best hundred.
        classes: by label.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar1: float | None
    ar10: float | None
    ar100: float | None
    classes: tuple[ClassPrecision, ...]


def measure_coco(found: Mapping[str, Detections], annotated: AnnotatedSet) -> CocoMetrics:
    """Compare detections with annotations, as COCO does.

    At most the best 100 detections of a class on a picture count, so no threshold of scores should be applied before. A
    box of a crowd may be found any number of times and need not be found. COCO knows no difficult objects: they count.

    Args:
        found: by name of the picture, with labels of the set; on pictures that are not named nothing was found.
        annotated: the set.

    Raises:
        ValueError: detections on pictures or of classes that the set does not have.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    truth, results = coco_documents(found, annotated)
    evaluation = COCOeval_faster(
        COCO(truth, print_function=_say_nothing),
        COCO({**truth, "annotations": results}, print_function=_say_nothing),
        "bbox",
        print_function=_say_nothing,
    )
    evaluation.evaluate()
    evaluation.accumulate()
    return summarise(evaluation.eval["precision"], evaluation.eval["recall"], annotated)


def coco_documents(
    found: Mapping[str, Detections], annotated: AnnotatedSet
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A set as COCO's document and detections as COCO's annotations, with ids of their own from 1.

    Raises:
        ValueError: as `measure_coco`.
    """
    _require_same(found, annotated)
    numbers = {name: number for number, name in enumerate(annotated.pictures, 1)}
    objects = [
        _annotation(numbers[name], int(label), edges, area=float(area), iscrowd=int(crowd))
        for name, one in annotated.pictures.items()
        for edges, label, area, crowd in zip(one.boxes, one.labels, one.areas, one.crowd, strict=True)
    ]
    results = [
        _annotation(numbers[name], int(label), edges.astype(np.float64), iscrowd=0, score=float(score))
        for name, one in found.items()
        for edges, label, score in zip(one.boxes, one.labels, one.scores, strict=True)
    ]
    truth = {
        "images": [
            {"id": numbers[name], "width": one.width, "height": one.height} for name, one in annotated.pictures.items()
        ],
        "categories": [{"id": label, "name": name} for label, name in enumerate(annotated.class_names, 1)],
        "annotations": _numbered(objects),
    }
    return truth, _numbered(results)


def summarise(precision: NDArray[np.float64], recall: NDArray[np.float64], annotated: AnnotatedSet) -> CocoMetrics:
    """COCO's measures out of what COCO's evaluation accumulates.

    Args:
        precision: (10 thresholds, 101 recalls, classes, 4 areas, 3 numbers of detections); -1 where there is none.
        recall: (10, classes, 4, 3).
        annotated: the set.
    """
    precision, recall = np.asarray(precision), np.asarray(recall)
    best = precision[..., _HUNDRED]
    objects = np.zeros(len(annotated.class_names), np.int64)
    for picture in annotated.pictures.values():
        np.add.at(objects, picture.labels[~picture.crowd], 1)
    return CocoMetrics(
        ap=_mean(best[..., _ALL]),
        ap50=_mean(best[_FIFTY, ..., _ALL]),
        ap75=_mean(best[_SEVENTY_FIVE, ..., _ALL]),
        ap_small=_mean(best[..., _SMALL]),
        ap_medium=_mean(best[..., _MEDIUM]),
        ap_large=_mean(best[..., _LARGE]),
        ar1=_mean(recall[..., _ALL, _ONE]),
        ar10=_mean(recall[..., _ALL, _TEN]),
        ar100=_mean(recall[..., _ALL, _HUNDRED]),
        classes=tuple(
            ClassPrecision(
                name, int(objects[label]), _mean(best[:, :, label, _ALL]), _mean(best[_FIFTY, :, label, _ALL])
            )
            for label, name in enumerate(annotated.class_names)
        ),
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    """Of what is not -1."""
    stated = values[values > -1]
    return float(stated.mean()) if stated.size else None


def _annotation(image_id: int, label: int, edges: NDArray[np.float64], **further: float) -> dict[str, Any]:
    left, top, right, bottom = edges.tolist()
    width, height = right - left, bottom - top
    box = {"image_id": image_id, "category_id": label + 1, "bbox": [left, top, width, height], "area": width * height}
    return {**box, **further}


def _numbered(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # From 1: COCO's evaluation takes an object of the id 0 for one that was not found.
    return [{"id": number, **one} for number, one in enumerate(annotations, 1)]


def _require_same(found: Mapping[str, Detections], annotated: AnnotatedSet) -> None:
    unknown = next((name for name in found if name not in annotated.pictures), None)
    if unknown is not None:
        raise ValueError(f"there are detections on {unknown!r}, which is no picture of the set")
    classes = len(annotated.class_names)
    if any(((one.labels < 0) | (one.labels >= classes)).any() for one in found.values()):
        raise ValueError(f"there are detections of classes beyond the {classes} of the set")


def _say_nothing(*_texts: object) -> None:
    """Takes the library's reports, which nobody asked for."""
