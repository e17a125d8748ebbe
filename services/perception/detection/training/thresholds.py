"""The least score of an answer: where precision and recall together, as F1, are best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.perception.detection.training.data import DetectionSet
from services.perception.detection.voc_metrics import RIGHT, THRESHOLD, match_objects
from shared.detectors.detections import Detections

_CHOICES: Final = np.arange(1, 100) / 100
"""Two places: more would only describe the pictures that the threshold is chosen on."""


@dataclass(frozen=True, slots=True)
class OperatingFigures:
    """What is right among the answers from a score on; all in [0, 1].

    Attributes:
        threshold: least score of an answer.
        precision: of all answers, those that find an object; 1 without answers.
        recall: of all objects, those that are found.
    """

    threshold: float
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def choose_threshold(data: DetectionSet, found: Sequence[Detections]) -> OperatingFigures:
    """The threshold with the largest F1; of equal ones the middle, which is farthest from where it gets worse.

    Args:
        data: to choose on, which nothing is measured on later.
        found: on each picture, in the same order, from low scores on.
    """
    scores, right = _outcomes(data, found)
    figures = [_figures(data, scores, right, float(threshold)) for threshold in _CHOICES]
    largest = max(one.f1 for one in figures)
    best = [one for one in figures if one.f1 == largest]
    return best[len(best) // 2]


def operating_figures(data: DetectionSet, found: Sequence[Detections], threshold: float) -> OperatingFigures:
    """Precision and recall of a set at a threshold."""
    return _figures(data, *_outcomes(data, found), threshold)


def _figures(
    data: DetectionSet, scores: NDArray[np.float32], right: NDArray[np.bool_], threshold: float
) -> OperatingFigures:
    answered = scores >= np.float32(threshold)
    hits, answers = int(np.count_nonzero(answered & right)), int(np.count_nonzero(answered))
    objects = sum(len(one) for one in data.targets)
    return OperatingFigures(threshold, hits / answers if answers else 1.0, hits / objects if objects else 0.0)


def _outcomes(data: DetectionSet, found: Sequence[Detections]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Score of each detection, and whether it found an object that no surer one did.

    One does not depend on those that are less sure, so it is right or wrong whatever the threshold.
    """
    scores, right = [np.zeros(0, np.float32)], [np.zeros(0, np.bool_)]
    for targets, detections in zip(data.targets, found, strict=True):
        boxes, labels = targets.boxes.numpy().astype(np.float64), targets.labels.numpy()
        for label in np.unique(detections.labels):
            ranked = detections.take(detections.labels == label).best(len(detections))
            own = boxes[labels == label]
            outcomes = match_objects(ranked, own, np.zeros(len(own), np.bool_), THRESHOLD)
            scores.append(ranked.scores)
            right.append(outcomes == RIGHT)
    return np.concatenate(scores), np.concatenate(right)
