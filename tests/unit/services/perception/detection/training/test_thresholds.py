"""The threshold of a card: the largest F1 on pictures whose outcomes are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.perception.detection.optimisation.instances import Targets
from services.perception.detection.training.data import DetectionSet
from services.perception.detection.training.thresholds import choose_threshold, operating_figures
from shared.detectors.detections import Detections

NEAR, FAR, NOTHING = (0, 0, 10, 10), (50, 50, 70, 70), (30, 30, 40, 40)


def pictures(*labels: int) -> DetectionSet:
    """One picture with a near and a far object."""
    image = np.zeros((96, 96, 3), np.uint8)
    targets = Targets(torch.tensor([NEAR, FAR], dtype=torch.float32), torch.tensor(labels))
    return DetectionSet(("a", "b"), [image], [targets], ["here"], [1.0])


def found(*rows: tuple[tuple[int, ...], float, int]) -> list[Detections]:
    boxes, scores, labels = zip(*rows, strict=True)
    return [Detections(np.array(boxes, np.float32), np.array(scores, np.float32), np.array(labels, np.int64))]


def test_the_threshold_lies_in_the_middle_between_what_is_right_and_what_is_not() -> None:
    chosen = choose_threshold(pictures(0, 0), found((NEAR, 0.9, 0), (FAR, 0.605, 0), (NOTHING, 0.205, 0)))
    assert chosen.f1 == 1
    assert chosen.threshold == pytest.approx(0.41)


def test_a_false_answer_is_taken_for_an_object_more() -> None:
    data, detections = pictures(0, 0), found((NEAR, 0.9, 0), (NOTHING, 0.7, 0), (FAR, 0.505, 0), (NEAR, 0.305, 0))
    chosen = choose_threshold(data, detections)
    assert 0.31 <= chosen.threshold <= 0.5
    assert (chosen.precision, chosen.recall, chosen.f1) == (2 / 3, 1, 0.8)
    assert operating_figures(data, detections, 0.8).f1 == pytest.approx(2 / 3)


def test_an_object_of_another_class_is_not_found() -> None:
    figures = operating_figures(pictures(0, 1), found((NEAR, 0.9, 0), (FAR, 0.8, 0)), 0.5)
    assert (figures.precision, figures.recall) == (0.5, 0.5)


def test_without_detections_nothing_is_wrong_and_nothing_found() -> None:
    figures = operating_figures(pictures(0, 0), [Detections.none()], 0.5)
    assert (figures.precision, figures.recall, figures.f1) == (1, 0, 0)
    assert choose_threshold(pictures(0, 0), [Detections.none()]).f1 == 0
