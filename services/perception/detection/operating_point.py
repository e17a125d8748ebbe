"""What a detector finds and misses with the thresholds of its card, picture by picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from services.perception.detection.annotations.model import AnnotatedPicture, AnnotatedSet
from services.perception.detection.voc_metrics import RIGHT, THRESHOLD, WRONG, match_objects, passed_over
from shared.detectors.detections import Detections
from shared.detectors.roles import DetectorRole


@dataclass(frozen=True, slots=True)
class Matches:
    """Of one picture, or of several.

    Attributes:
        found: objects with a detection of their class that overlaps them by half.
        missed: objects without one.
        false: detections of nothing, or of what a surer one found.
    """

    found: int = 0
    missed: int = 0
    false: int = 0

    @property
    def objects(self) -> int:
        """That are to be found: difficult ones and crowds are not."""
        return self.found + self.missed

    @property
    def recall(self) -> float | None:
        """Of all objects, those that were found; None without objects."""
        return self.found / self.objects if self.objects else None

    @property
    def precision(self) -> float | None:
        """Of all detections that count, those that found something; None without any."""
        answers = self.found + self.false
        return self.found / answers if answers else None


def answers_among(found: Detections, role: DetectorRole) -> Detections:
    """Those of a picture's detections that are answered with the threshold and the limit of a card."""
    return found.scored_at_least(role.score_threshold).best(role.limit)


def match_pictures(answers: Mapping[str, Detections], annotated: AnnotatedSet) -> dict[str, Matches]:
    """Matches of each picture, as Pascal VOC pairs detections with objects.

    Args:
        answers: by name of the picture, with labels of the set; on pictures that are not named nothing was found.
        annotated: the set.
    """
    return {name: _match(answers.get(name, Detections.none()), picture) for name, picture in annotated.pictures.items()}


def total(matches: Iterable[Matches]) -> Matches:
    """Sums over pictures."""
    every = list(matches)
    return Matches(sum(one.found for one in every), sum(one.missed for one in every), sum(one.false for one in every))


def _match(detections: Detections, picture: AnnotatedPicture) -> Matches:
    right = wrong = 0
    passed = passed_over(picture)
    for label in np.unique(np.concatenate([detections.labels, picture.labels])).tolist():
        own = picture.labels == label
        ranked = detections.take(detections.labels == label).best(len(detections))
        outcomes = match_objects(ranked, picture.boxes[own], passed[own], THRESHOLD)
        right += int(np.count_nonzero(outcomes == RIGHT))
        wrong += int(np.count_nonzero(outcomes == WRONG))
    return Matches(right, int(np.count_nonzero(~passed)) - right, wrong)
