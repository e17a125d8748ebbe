"""COCO's measures beside pycocotools."""

from __future__ import annotations

import contextlib
import io
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest

from services.perception.detection.annotations.model import AnnotatedSet
from services.perception.detection.coco_metrics import CocoMetrics, coco_documents, measure_coco, summarise
from shared.detectors.detections import Detections
from tests.unit.services.perception.detection.annotated_archives import Drawn, annotated_set

pytest.importorskip("faster_coco_eval")
CLASSES = ["a", "b", "c", "d"]


def generate(seed: int) -> tuple[dict[str, Detections], AnnotatedSet]:
    """Pictures with objects of three of four classes, some of them crowds, and detections near some of them."""
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(int(random.integers(1, 8))):
        count = int(random.integers(0, 7))
        corners = random.uniform(0, 300, (count, 2))
        edges = np.concatenate([corners, corners + random.uniform(1, [20, 100, 200][seed % 3], (count, 2))], axis=1)
        drawn.append(Drawn(500, 500, [(int(random.integers(3)), tuple(row)) for row in edges.tolist()]))
    annotated = annotated_set(drawn, CLASSES)
    crowds = {
        name: replace(one, crowd=random.random(len(one.boxes)) < (0.3 if seed % 4 == 0 else 0), areas=one.areas * 0.8)
        for name, one in annotated.pictures.items()
    }
    annotated = replace(annotated, pictures=crowds)
    return {name: near(random, one.boxes, one.labels, seed) for name, one in crowds.items()}, annotated


def near(random: np.random.Generator, boxes: Any, labels: Any, seed: int) -> Detections:
    copies = random.integers(0, [3, 60][seed % 10 == 9], len(boxes))
    edges = np.repeat(boxes, copies, axis=0)
    edges = edges + random.normal(0, 4, edges.shape)
    chosen = np.where(random.random(len(edges)) < 0.8, np.repeat(labels, copies), random.integers(0, 4, len(edges)))
    scores = random.integers(0, 5, len(edges)) / 4 if seed % 2 else random.random(len(edges))
    edges[:, 2:] = np.maximum(edges[:, 2:], edges[:, :2] + 0.5)
    if seed % 7 == 6:
        return Detections.none()
    return Detections(edges.astype(np.float32), scores.astype(np.float32), chosen.astype(np.int64))


def by_pycocotools(found: dict[str, Detections], annotated: AnnotatedSet) -> tuple[CocoMetrics, list[float]]:
    coco: Any = pytest.importorskip("pycocotools.coco")
    cocoeval: Any = pytest.importorskip("pycocotools.cocoeval")
    truth, results = coco_documents(found, annotated)
    sides = []
    with contextlib.redirect_stdout(io.StringIO()):
        for annotations in (truth["annotations"], results):
            side = coco.COCO()
            side.dataset = {**truth, "annotations": annotations}
            side.createIndex()
            sides.append(side)
        evaluation = cocoeval.COCOeval(*sides, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return summarise(evaluation.eval["precision"], evaluation.eval["recall"], annotated), evaluation.stats.tolist()


@pytest.mark.parametrize("seed", range(60))
def test_measures_equal_pycocotools(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    found, annotated = generate(seed)
    measured = measure_coco(found, annotated)
    assert capfd.readouterr() == ("", "")
    expected, stats = by_pycocotools(found, annotated)
    *summary, classes = astuple(measured)
    assert summary == pytest.approx([None if one == -1 else one for one in stats[:9]], abs=1e-9)
    for one, other in zip(classes, astuple(expected)[-1], strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def test_a_perfect_detector() -> None:
    annotated = annotated_set(
        [Drawn(300, 300, [(0, (0, 0, 20, 20)), (0, (50, 50, 100, 100)), (1, (0, 0, 200, 200))])], CLASSES
    )
    one = annotated.pictures["images/1.png"]
    found = Detections(one.boxes.astype(np.float32), np.ones(3, np.float32), one.labels)
    measured = measure_coco({one.name: found}, annotated)
    assert (measured.ap, measured.ap50, measured.ap75) == pytest.approx((1, 1, 1))
    assert (measured.ap_small, measured.ap_medium, measured.ap_large) == pytest.approx((1, 1, 1))
    assert (measured.ar1, measured.ar10, measured.ar100) == pytest.approx((0.75, 1, 1))
    assert [(each.name, each.objects, each.ap, each.ap50) for each in measured.classes] == [
        ("a", 2, pytest.approx(1), pytest.approx(1)), ("b", 1, pytest.approx(1), pytest.approx(1)),
        ("c", 0, None, None), ("d", 0, None, None),
    ]  # fmt: skip


def test_ap_and_ap50_are_not_the_same() -> None:
    annotated = annotated_set([Drawn(300, 300, [(0, (0, 0, 100, 100))])], ["a"])
    found = Detections(np.array([[0, 0, 100, 62]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    measured = measure_coco({"images/1.png": found}, annotated)
    assert (measured.ap, measured.ap50, measured.ap75) == pytest.approx((0.3, 1, 0))


def test_nothing_found_is_0_and_nothing_to_find_is_none() -> None:
    annotated = annotated_set([Drawn(30, 30, [(0, (0, 0, 9, 9))]), Drawn(5, 5)], ["a", "b"])
    measured = measure_coco({}, annotated)
    assert (measured.ap, measured.ap50, measured.ar100, measured.ap_small, measured.ap_large) == (0, 0, 0, 0, None)
    assert (measured.classes[0].ap, measured.classes[1].ap) == (0, None)
    empty = annotated_set([Drawn(30, 30)], ["a"])
    found = Detections(np.ones((1, 4), np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    for detections in ({}, {"images/1.png": found}):
        assert set(astuple(measure_coco(detections, empty))[:-1]) == {None}
    assert set(astuple(measure_coco({}, annotated_set([], ["a"])))[:-1]) == {None}


def test_detections_of_other_sets_are_refused() -> None:
    annotated = annotated_set([Drawn(30, 30)], ["a"])
    with pytest.raises(ValueError, match=r"'other.png', which is no picture"):
        measure_coco({"other.png": Detections.none()}, annotated)
    beyond = Detections(np.ones((1, 4), np.float32), np.ones(1, np.float32), np.ones(1, np.int64))
    with pytest.raises(ValueError, match="beyond the 1 of the set"):
        measure_coco({"images/1.png": beyond}, annotated)
