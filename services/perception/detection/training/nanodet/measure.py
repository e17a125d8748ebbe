"""Measures the released detector on simulated street scenes, which it was not trained on.

Town05 of CARLA (`data.CARLA`, split `test`): of several classes of COCO that are one of CARLA's the best score counts,
overlaps are suppressed after that, and average precision is COCO's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.perception.detection.annotations.coco import read_coco
from services.perception.detection.annotations.model import AnnotatedPicture, AnnotatedSet
from services.perception.detection.coco_metrics import LOWEST_SCORE, measure_coco
from services.perception.detection.training.data import CARLA
from services.perception.detection.training.nanodet.classes import COCO_NAMES, IN_CARLA
from shared.detectors.detections import Detections, suppress_overlaps
from shared.detectors.letterboxing import Buckets, letterbox
from shared.detectors.roles import BOXES, IMAGE, SCORES
from shared.runtime.cards import UploadedCard
from shared.runtime.models.sessions import OnnxModel

EVALUATION: Final = Path(__file__).parent / "evaluation.json"

WIDER: Final = Buckets.of_sides(320, 544)
"""About as many pixels as the card's square, with less of them around a wide picture."""

RESAMPLES: Final = 1000


class CarlaDetector:
    """The released detector with CARLA's classes.

    Args:
        model: the opened release.
        buckets: how large it sees pictures; as its card says by default.
    """

    def __init__(self, model: OnnxModel, buckets: Buckets | None = None) -> None:
        self._model = model
        self._detection: Any = model.card.parameters["detection"]
        self._buckets = buckets or buckets_of(model.card)
        self._groups = [[COCO_NAMES.index(one) for one in names] for names in IN_CARLA.values()]

    def detect(self, picture: NDArray[np.uint8], labels: Sequence[int]) -> Detections:
        """What is found on a picture, from low scores on.

        Args:
            picture: uint8 RGB (height, width, 3).
            labels: numbers of the classes of IN_CARLA, in its order.
        """
        seen = letterbox(picture, self._buckets)
        boxes, scores = run(self._model, seen.pixels)
        grouped = np.stack([scores[:, group].max(axis=1) for group in self._groups], axis=1)
        regions, columns = np.nonzero(grouped >= LOWEST_SCORE)
        all_labels = np.array(labels, np.int64)[columns]
        found = Detections(seen.to_posted(boxes[regions]), grouped[regions, columns], all_labels)
        found = suppress_overlaps(found, iou_threshold=self._detection["iou_threshold"])
        return found.best(self._detection["limit"])


def run(model: OnnxModel, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes and scores of a picture whose sides are multiples of 32, uint8 (height, width, 3)."""
    image = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / 255
    outputs = dict(zip((one.name for one in model.card.outputs), model.run({IMAGE: image}), strict=True))
    return outputs[BOXES], outputs[SCORES]


def buckets_of(card: UploadedCard) -> Buckets:
    """How large a detector wants to see pictures, as its card says."""
    said: Any = card.parameters["detection"]
    red, green, blue = said["fill"]
    return Buckets.of_sides(said["short_side"], said["long_side"], fill=(red, green, blue))


def read_town05(data: Path, *, every: int = 1) -> AnnotatedSet:
    """The pictures of Town05, or every so many of them.

    Raises:
        FileNotFoundError: the data set is not there.
    """
    whole = read_coco((data / CARLA.folder / "test.json").read_bytes(), source="test.json", pointer="/data")
    names = list(whole.pictures)[::every]
    return replace(whole, pictures={name: whole.pictures[name] for name in names})


def detect_all(detector: CarlaDetector, annotated: AnnotatedSet, data: Path) -> dict[str, Detections]:
    """What is found on each picture of a set, by its name."""
    labels = [annotated.class_names.index(name) for name in IN_CARLA]
    found = {}
    for name in annotated.pictures:
        with Image.open(data / CARLA.folder / "images" / name) as opened:
            found[name] = detector.detect(np.asarray(opened.convert("RGB")), labels)
    return found


def ap50_of(found: dict[str, Detections], annotated: AnnotatedSet) -> dict[str, float | None]:
    """Average precision at an IoU of 0.5 by class of CARLA."""
    classes = {one.name: one.ap50 for one in measure_coco(found, annotated).classes}
    return {name: classes[name] for name in IN_CARLA}


def measure(model: OnnxModel, data: Path) -> dict[str, Any]:
    """Measure the detector as its card says, and with wider pictures; the result is also written beside the code."""
    annotated = read_town05(data)
    found = detect_all(CarlaDetector(model), annotated, data)
    wider = detect_all(CarlaDetector(model, WIDER), annotated, data)
    counts = measure_coco(found, annotated).classes
    result = {
        "pictures": len(annotated.pictures),
        "objects": {one.name: one.objects for one in counts if one.name in IN_CARLA},
        "ap50": _rounded(ap50_of(found, annotated)),
        "vehicle_interval": [round(value, 4) for value in vehicle_interval(found, annotated)],
        "wider": {"short_side": WIDER.short_side, "long_side": WIDER.long_side},
        "wider_ap50": _rounded(ap50_of(wider, annotated)),
    }
    EVALUATION.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def vehicle_interval(
    found: dict[str, Detections], annotated: AnnotatedSet, *, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % interval of the AP50 of vehicles, by drawing pictures again (bootstrap, percentiles)."""
    label = annotated.class_names.index("vehicle")
    names, random = list(annotated.pictures), np.random.default_rng(0)
    objects = {name: _only(one, label) for name, one in annotated.pictures.items()}
    boxes = {name: found[name].take(found[name].labels == label) for name in names}
    alone = {name: Detections(one.boxes, one.scores, np.zeros_like(one.labels)) for name, one in boxes.items()}
    values = []
    for _ in range(resamples):
        # A picture may be drawn several times, so each gets the number of the draw for its name.
        drawn = {str(number): names[index] for number, index in enumerate(random.integers(0, len(names), len(names)))}
        again = AnnotatedSet({new: objects[name] for new, name in drawn.items()}, ("vehicle",), (1,), annotated.faults)
        classes = measure_coco({new: alone[name] for new, name in drawn.items()}, again).classes
        values.append(classes[0].ap50 or 0.0)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _only(picture: AnnotatedPicture, label: int) -> AnnotatedPicture:
    """Its objects of one class, which becomes the only one: the others would cost most of the time."""
    chosen = picture.labels == label
    kept = {name: getattr(picture, name)[chosen] for name in ("boxes", "areas", "crowd", "difficult")}
    return replace(picture, labels=np.zeros(int(chosen.sum()), np.int64), **kept)


def _rounded(values: dict[str, float | None]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items() if value is not None}
