"""Sets of annotated pictures: their classes beside those of a detector."""

from __future__ import annotations

import pytest

from services.perception.detection.annotations.box_recording import (
    MOST_BOXES_OF_A_SET,
    MOST_SHOWN,
    BoxRecorder,
    FaultLog,
)
from shared.problems import ContentTooLarge, UnprocessableContent
from tests.unit.services.perception.detection.annotated_archives import POINTER, Drawn, annotated_set

SET = annotated_set([Drawn(9, 9, [(0, (0, 0, 2, 2)), (2, (1, 1, 3, 3))]), Drawn(5, 5)], ["Cat", "dog", "traffic light"])


def test_labels_become_those_of_the_detector() -> None:
    aligned = SET.with_classes(["traffic light", "bus", " cat", "tram"], pointer=POINTER)
    assert aligned.pictures["images/1.png"].labels.tolist() == [2, 0]
    assert aligned.class_names == ("traffic light", "bus", " cat", "tram")
    assert aligned.category_ids == (3, 4, 1, 5)
    assert aligned.box_count == 2


def test_classes_that_the_detector_does_not_know_are_named() -> None:
    with pytest.raises(UnprocessableContent, match=r"'traffic light', a class .* Is 'traffic lights' meant\?"):
        SET.with_classes(["cat", "traffic lights"], pointer=POINTER)
    with pytest.raises(UnprocessableContent, match=r"'Cat', a class .* It knows '0', .*'9' and 2 more"):
        SET.with_classes([str(number) for number in range(12)], pointer=POINTER)


def test_capitals_count_where_they_tell_classes_apart() -> None:
    letters = annotated_set([Drawn(9, 9, [(0, (0, 0, 2, 2)), (1, (0, 0, 2, 2))])], ["a", "A"])
    aligned = letters.with_classes(["A", "b", "a"], pointer=POINTER)
    assert aligned.pictures["images/1.png"].labels.tolist() == [2, 0]
    assert aligned.category_ids == (2, 3, 1)
    assert letters.with_classes(["A"], pointer=POINTER).pictures["images/1.png"].labels.tolist() == [0, 0]
    with pytest.raises(UnprocessableContent, match="'B', a class"):
        annotated_set([Drawn(9, 9, [(0, (0, 0, 2, 2))])], ["B"]).with_classes(
            ["\N{LATIN SMALL LETTER SHARP S}"], pointer=POINTER
        )


def test_all_faults_are_counted_and_the_first_are_shown() -> None:
    log = FaultLog()
    recorder = BoxRecorder(10, 10, log, POINTER)
    for number in range(200):
        recorder.add((5, 5, 5 + number % 2 * 10, 7), 0, place=f"line {number}")
    faults = log.finish()
    assert (faults.clipped, faults.refused, len(faults.shown)) == (100, 100, MOST_SHOWN)
    assert faults.shown[0].detail == "The box is 0 pixels wide and 2 high."
    assert faults.shown[1].detail.startswith("The box 5, 5, 15, 7 (left, top, right, bottom) reaches beyond")
    assert recorder.finish("1", 1).boxes.tolist() == [[5, 5, 10, 7]] * 100


def test_the_boxes_of_a_set_are_bounded() -> None:
    log = FaultLog(boxes=MOST_BOXES_OF_A_SET)
    with pytest.raises(ContentTooLarge, match="one box more than the 500000 that a set may have"):
        BoxRecorder(10, 10, log, POINTER).add((1, 1, 2, 2), 0, place="line 1")
