"""Classes of a set beside a detector's, what is found and missed at a threshold, checkpoints and drawn panels."""

from __future__ import annotations

import numpy as np
import pytest

from services.perception.detection.annotations.class_alignment import align_classes
from services.perception.detection.annotations.importing import import_pictures
from services.perception.detection.demo import HEIGHT, PICTURES, WIDTH, annotated_streets, street
from services.perception.detection.evaluation_progress import FoundSoFar
from services.perception.detection.evaluation_schemas import parse_class_mapping
from services.perception.detection.jobs import measured
from services.perception.detection.operating_point import Matches, answers_among, match_pictures, total
from services.perception.detection.panels import SIDE, fit, mosaic
from shared.detectors.detections import Detections
from shared.detectors.inference import Selection
from shared.detectors.roles import DetectorRole
from shared.imaging.pictures import decode_picture
from shared.imaging.sheets import Panel
from shared.problems import UnprocessableContent
from tests.unit.services.perception.detection.annotated_archives import Drawn, annotated_set

WHERE = {"pointer": "/body/file", "mapping_pointer": "/body/class_mapping"}
BOX = (0.0, 0.0, 10.0, 10.0)
SET = annotated_set(
    [Drawn(20, 20, [(0, BOX), (1, BOX), (2, BOX)]), Drawn(20, 20, [(2, (5.0, 5.0, 9.0, 9.0))])], ["Car", "bus", "tree"]
)


def detections(*rows: tuple[tuple[float, float, float, float], float, int]) -> Detections:
    return Detections(
        np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([label for _, _, label in rows], np.int64),
    )


def test_names_are_found_without_regard_to_capitals_and_mapped() -> None:
    aligned = align_classes(SET, ["person", "car"], mapping={"bus": "car"}, **WHERE)
    assert [one.labels.tolist() for one in aligned.annotated.pictures.values()] == [[1, 1], []]
    assert aligned.used == {"Car": "car", "bus": "car"}
    assert aligned.unknown == {"tree": 2}
    assert aligned.unknown_share == 0.5
    assert aligned.annotated.class_names == ("person", "car")


def test_a_set_that_shows_nothing_known_is_refused() -> None:
    with pytest.raises(UnprocessableContent, match=r"the set has 'Car', 'bus', 'tree', the detector 'dog'"):
        align_classes(SET, ["dog"], mapping={}, **WHERE)
    for mapping, said in (({"bas": "dog"}, "Is 'bus' meant"), ({"bus": "cat"}, "The detector has no class 'cat'")):
        with pytest.raises(UnprocessableContent, match=said) as caught:
            align_classes(SET, ["dog"], mapping=mapping, **WHERE)
        assert caught.value.errors[0].pointer == "/body/class_mapping"


@pytest.mark.parametrize("text", ["", "car", "[]", '{"a": null}', '{"a": {"b": "c"}}', "{"])
def test_a_mapping_is_an_object_of_names(text: str) -> None:
    with pytest.raises(ValueError, match="JSON object of names"):
        parse_class_mapping(text)


def test_found_missed_and_false_by_hand() -> None:
    annotated = annotated_set(
        [
            Drawn(50, 50, [(0, (0, 0, 10, 10)), (0, (20, 20, 40, 40)), (1, (0, 0, 10, 10))]),
            Drawn(50, 50, [(1, (5, 5, 25, 25))]),
            Drawn(50, 50),
        ],
        ["a", "b"],
    )
    first, second, third = annotated.pictures
    found = {
        first: detections(
            ((0, 0, 10, 9), 0.9, 0),  # found
            ((0, 0, 9, 10), 0.8, 0),  # the same object again
            ((20, 20, 40, 29), 0.7, 0),  # overlaps by less than half
            ((0, 0, 10, 10), 0.3, 1),  # below the threshold
        ),
        third: detections(((0, 0, 5, 5), 0.6, 1)),
    }
    role = DetectorRole(classes=["a", "b"], short_side=96, long_side=96, score_threshold=0.5)
    matches = match_pictures({name: answers_among(one, role) for name, one in found.items()}, annotated)
    assert matches == {first: Matches(1, 2, 2), second: Matches(0, 1, 0), third: Matches(0, 0, 1)}
    every = total(matches.values())
    assert (every.objects, every.recall, every.precision) == (4, 0.25, 0.25)
    (surest,) = answers_among(found[first], role.model_copy(update={"limit": 1})).scores
    assert surest == np.float32(0.9)
    assert Matches().recall is Matches().precision is None


def test_what_is_measured_holds_what_the_card_answers() -> None:
    role = DetectorRole(classes=["a"], short_side=96, long_side=96)
    assert measured(role) == Selection(0.01, 0.5, 100)
    assert measured(role.model_copy(update={"limit": 250, "score_threshold": 0})) == Selection(0, 0.5, 250)


def test_a_checkpoint_holds_all_that_was_found() -> None:
    so_far = FoundSoFar([detections(((1, 2, 3, 4), 0.5, 7)), Detections.none(), detections(*[(BOX, 0.1, 0)] * 3)])
    again = FoundSoFar.of_bytes(so_far.as_bytes())
    assert [len(one) for one in again.pictures] == [1, 0, 3]
    for one, other in zip(so_far.pictures, again.pictures, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.labels, other.labels)
    assert FoundSoFar.of_bytes(None).pictures == FoundSoFar.of_bytes(FoundSoFar().as_bytes()).pictures == []


@pytest.mark.parametrize(("height", "width"), [(1, 1), (360, 360), (361, 100), (10, 20000), (4000, 3000)])
def test_pictures_fit_into_their_panels(height: int, width: int) -> None:
    shown = fit(np.zeros((height, width, 3), np.uint8))
    assert max(shown.shape[:2]) == min(SIDE, max(height, width))
    assert min(shown.shape[:2]) >= 1


def test_panels_of_other_sizes_have_a_place_each() -> None:
    sizes = [(30, 50), (60, 20), (10, 10), (5, 50), (60, 50)]
    sheet = mosaic([Panel(np.full((*size, 3), (7, 80, 9), np.uint8), str(number)) for number, size in enumerate(sizes)])
    assert (sheet == (7, 80, 9)).all(axis=2).sum() == sum(height * width for height, width in sizes)


def test_the_demo_is_a_street_and_a_set_of_cars() -> None:
    assert decode_picture(street(), limit_pixels=10**6).pixels.shape == (HEIGHT, WIDTH, 3)
    annotated = import_pictures(annotated_streets(), pointer="/body/file").annotated
    assert (len(annotated.pictures), annotated.class_names) == (PICTURES, ("car",))
    assert annotated.box_count > 2 * PICTURES
    assert (annotated.faults.clipped, annotated.faults.refused) == (0, 0)
