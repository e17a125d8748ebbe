"""Pascal VOC's average precision, computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.perception.detection.voc_metrics import area_under_curve, measure_voc
from shared.detectors.detections import Detections
from tests.unit.services.perception.detection.annotated_archives import Drawn, annotated_set

A, B, C, D = (0, 0, 10, 10), (20, 0, 30, 10), (0, 20, 10, 30), (40, 40, 50, 50)
NOWHERE = (60, 60, 70, 70)


def detections(*rows: tuple[tuple[float, ...], float, int]) -> Detections:
    return Detections(
        np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([label for _, _, label in rows], np.int64),
    )


def test_an_average_precision_by_hand() -> None:
    """Right, wrong (a second time), right, wrong (nothing there), right; four objects.

    Recalls 1/4, 1/4, 2/4, 2/4, 3/4 and precisions 1, 1/2, 2/3, 1/2, 3/5, which made to fall are 1, 2/3, 2/3, 3/5, 3/5:
    (1 + 2/3 + 3/5) / 4.
    """
    annotated = annotated_set([Drawn(100, 100, [(0, A), (0, B)]), Drawn(100, 100, [(0, C), (0, D)])], ["cell", "none"])
    found = {
        "images/1.png": detections((A, 0.9, 0), (A, 0.8, 0), (B, 0.5, 0)),
        "images/2.png": detections((NOWHERE, 0.6, 0), (C, 0.7, 0)),
    }
    measured = measure_voc(found, annotated)
    assert measured.mean == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    assert measured.classes == (measured.mean, None)


def test_the_curve_by_hand() -> None:
    assert area_under_curve(np.array([True, True]), 2) == 1
    assert area_under_curve(np.array([False, True]), 1) == 0.5
    assert area_under_curve(np.zeros(0, np.bool_), 3) == 0
    assert area_under_curve(np.array([True, False, True, False, True]), 4) == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)


def test_difficult_objects_and_crowds_count_for_nothing() -> None:
    annotated = annotated_set([Drawn(100, 100, [(0, A), (0, B), (0, C)])], ["cell"])
    one = annotated.pictures["images/1.png"]
    marked = replace(one, difficult=np.array([False, True, False]), crowd=np.array([False, False, True]))
    annotated = replace(annotated, pictures={one.name: marked})
    found = {one.name: detections((B, 0.9, 0), (B, 0.8, 0), (C, 0.7, 0), (A, 0.6, 0))}
    assert measure_voc(found, annotated).mean == 1
    nothing = replace(annotated, pictures={one.name: replace(marked, difficult=np.ones(3, np.bool_))})
    assert measure_voc(found, nothing).mean is None


def test_a_taken_object_is_not_exchanged_for_the_next_best() -> None:
    """Unlike COCO: the second detection overlaps A most, although B is free and overlaps enough."""
    annotated = annotated_set([Drawn(100, 100, [(0, (0, 0, 10, 10)), (0, (2, 0, 12, 10))])], ["cell"])
    found = {"images/1.png": detections(((0, 0, 10, 10), 0.9, 0), ((0.5, 0, 10.5, 10), 0.8, 0))}
    assert measure_voc(found, annotated).mean == 0.5


def test_the_threshold_itself_is_enough() -> None:
    annotated = annotated_set([Drawn(100, 100, [(0, (0, 0, 10, 10))])], ["cell"])
    found = {"images/1.png": detections(((0, 0, 10, 5), 0.9, 0))}
    assert measure_voc(found, annotated).mean == 1
    assert measure_voc(found, annotated, iou_threshold=0.51).mean == 0


def test_classes_are_kept_apart() -> None:
    annotated = annotated_set([Drawn(100, 100, [(0, A), (1, B)]), Drawn(9, 9)], ["one", "other"])
    found = {"images/1.png": detections((A, 0.9, 1), (B, 0.8, 1))}
    assert measure_voc(found, annotated).classes == (0, 0.5)
    assert measure_voc({}, annotated).mean == 0
