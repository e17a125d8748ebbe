"""Average precision of perfect, empty and partly wrong detections, in pixels of the files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from services.perception.detection.optimisation.instances import Detections
from services.perception.detection.training.data import DetectionSet, read_detection_set
from services.perception.detection.training.evaluate import (
    annotated_set,
    average_precision,
    detect_set,
    evaluate,
)
from tests.support.detectors import SOURCE, tiny_detector


@pytest.fixture(scope="module")
def data(rectangles: Path) -> DetectionSet:
    return read_detection_set(rectangles, SOURCE, "train", short_side=128)


def perfect(data: DetectionSet) -> list[Detections]:
    return [Detections(one.boxes, torch.full((len(one),), 0.9), one.labels) for one in data.targets]


def test_perfect_detections_have_one_and_none_have_zero(data: DetectionSet) -> None:
    best = average_precision(data, perfect(data))
    assert best.as_dict()["AP"] == best.metrics.ap50 == best.metrics.ap75 == pytest.approx(1)
    nothing = [Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64)) for _ in data.targets]
    assert average_precision(data, nothing).metrics.ap == 0
    with pytest.raises(ValueError, match="detections in 0"):
        average_precision(data, [])


def test_a_shift_shows_at_a_high_overlap_alone(data: DetectionSet) -> None:
    shifted = [Detections(one.boxes + torch.tensor([7.0, 0, 7, 0]), one.scores, one.labels) for one in perfect(data)]
    found = average_precision(data, shifted).metrics
    assert found.ap50 == pytest.approx(1)
    assert found.ap75 == 0
    assert found.ap is not None
    assert 0.2 < found.ap < 0.8


def test_classes_without_objects_do_not_count(data: DetectionSet) -> None:
    more = DetectionSet((*data.classes, "unseen"), data.images, data.targets, data.domains, data.scales)
    found = average_precision(more, perfect(more))
    assert found.as_dict()["classes"]["unseen"] == {"AP": None, "AP50": None, "objects": 0}
    assert found.metrics.ap == pytest.approx(1)


def test_boxes_are_of_the_files(data: DetectionSet) -> None:
    annotated = annotated_set(data)
    assert {scale == 1 for scale in data.scales} == {False}
    for place, (targets, scale) in enumerate(zip(data.targets, data.scales, strict=True)):
        picture = annotated.pictures[str(place)]
        assert torch.allclose(torch.from_numpy(picture.boxes).float() * scale, targets.boxes, atol=1e-3)
        assert picture.labels.tolist() == targets.labels.tolist()


@pytest.mark.parametrize("architecture", ["two-stage", "single-stage"])
def test_a_detector_is_measured(architecture: str, data: DetectionSet) -> None:
    detector = tiny_detector(architecture)
    assert len(detect_set(detector, data, batch=4)) == len(data)
    found = evaluate(detector, data).metrics.ap
    assert found is not None
    assert 0 <= found <= 1
