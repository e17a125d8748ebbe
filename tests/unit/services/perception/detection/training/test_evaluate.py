"""Average precision: perfect, empty and partly wrong detections, and beside pycocotools."""

from __future__ import annotations

import contextlib
import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from services.perception.detection.optimisation.instances import Detections
from services.perception.detection.training.data import DetectionSet, read_detection_set
from services.perception.detection.training.evaluate import (
    _described,
    _listed,
    average_precision,
    detect_set,
    evaluate,
)
from tests.support.detectors import SOURCE, tiny_detector

pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")


@pytest.fixture(scope="module")
def data(rectangles: Path) -> DetectionSet:
    return read_detection_set(rectangles, SOURCE, "train", short_side=128)


def perfect(data: DetectionSet) -> list[Detections]:
    return [Detections(one.boxes, torch.full((len(one),), 0.9), one.labels) for one in data.targets]


def noisy(data: DetectionSet) -> list[Detections]:
    found = []
    for one in data.targets:
        boxes = torch.cat((one.boxes + 8 * torch.randn(len(one), 4), one.boxes + 60, one.boxes))
        labels = torch.cat((one.labels, one.labels, (one.labels + 1) % 3))
        found.append(Detections(boxes, torch.rand(len(labels)), labels))
    return found


def test_perfect_detections_have_one_and_none_have_zero(data: DetectionSet) -> None:
    best = average_precision(data, perfect(data))
    assert best.as_dict()["AP"] == best.mean.ap50 == best.mean.ap75 == pytest.approx(1)
    nothing = [Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64)) for _ in data.targets]
    assert average_precision(data, nothing).mean.ap == 0
    with pytest.raises(ValueError, match="detections in 0"):
        average_precision(data, [])


def test_a_shift_shows_at_a_high_overlap_alone(data: DetectionSet) -> None:
    shifted = [Detections(one.boxes + torch.tensor([7.0, 0, 7, 0]), one.scores, one.labels) for one in perfect(data)]
    found = average_precision(data, shifted).mean
    assert found.ap50 == pytest.approx(1)
    assert found.ap75 == 0
    assert 0.2 < found.ap < 0.8


def test_classes_without_objects_do_not_count(data: DetectionSet) -> None:
    more = DetectionSet((*data.classes, "unseen"), data.images, data.targets, data.domains, data.scales)
    found = average_precision(more, perfect(more))
    assert math.isnan(found.classes["unseen"].ap)
    assert found.mean.ap == pytest.approx(1)


def test_figures_are_those_of_pycocotools(data: DetectionSet) -> None:
    coco, cocoeval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    detections = noisy(data)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = _described(data)
        truth.createIndex()
        evaluation = cocoeval.COCOeval(truth, truth.loadRes(_listed(data, detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    found = average_precision(data, detections).mean
    np.testing.assert_allclose([found.ap, found.ap50, found.ap75], evaluation.stats[:3], atol=1e-9)


@pytest.mark.parametrize("architecture", ["two-stage", "single-stage"])
def test_a_detector_is_measured(architecture: str, data: DetectionSet) -> None:
    detector = tiny_detector(architecture)
    assert len(detect_set(detector, data, batch=4)) == len(data)
    assert 0 <= evaluate(detector, data).mean.ap <= 1
