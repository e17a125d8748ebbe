"""Which cell predicts which object, and the quality focal loss."""

from __future__ import annotations

import torch
from torch.nn import functional

from services.perception.detection.optimisation.instances import Targets
from services.perception.detection.optimisation.single_stage import (
    CellPredictions,
    SingleStageDetector,
    quality_focal_loss,
)
from tests.support.detectors import tiny_detector


def assigned(*boxes: tuple[float, float, float, float]) -> tuple[CellPredictions, torch.Tensor]:
    detector = tiny_detector("single-stage")
    assert isinstance(detector, SingleStageDetector)
    cells = detector.cells(detector.backbone(torch.rand(1, 3, 128, 160)))
    target = Targets(torch.tensor(boxes).reshape(-1, 4), torch.zeros(len(boxes), dtype=torch.int64))
    return cells, detector.assign(cells, target)


def centres_of(cells: CellPredictions, chosen: torch.Tensor) -> list[tuple[float, float, float]]:
    squares = cells.squares[chosen]
    middle = (squares[:, :2] + squares[:, 2:]) / 2
    return [(*row.tolist(), float(stride)) for row, stride in zip(middle, cells.strides[chosen], strict=True)]


def test_cells_near_the_centre_predict_an_object_on_the_map_of_its_size() -> None:
    cells, objects = assigned((16, 16, 48, 48))
    found = centres_of(cells, objects == 0)
    assert {stride for *_, stride in found} == {8.0}
    assert {x for x, *_ in found} == {y for _, y, _ in found} == {20.0, 28.0, 36.0, 44.0}
    assert len(found) == 16
    cells, objects = assigned((10, 10, 110, 60))
    assert {stride for *_, stride in centres_of(cells, objects == 0)} == {16.0}
    cells, objects = assigned((0, 0, 160, 128))
    assert {stride for *_, stride in centres_of(cells, objects == 0)} == {32.0}


def test_an_object_smaller_than_a_cell_has_the_nearest_one() -> None:
    cells, objects = assigned((41, 25, 43, 27))
    assert centres_of(cells, objects == 0) == [(44.0, 28.0, 8.0)]


def test_the_smallest_object_wins() -> None:
    cells, objects = assigned((16, 16, 64, 64), (32, 32, 48, 48))
    assert set(objects.tolist()) == {-1, 0, 1}
    chosen = centres_of(cells, objects == 1)
    assert {(36.0, 36.0, 8.0), (44.0, 44.0, 8.0)} <= set(chosen)


def test_no_objects_are_predicted_nowhere() -> None:
    _, objects = assigned()
    assert set(objects.tolist()) == {-1}


def test_quality_focal_loss_is_least_at_the_quality() -> None:
    logits, wanted = torch.randn(6, 3), torch.rand(6, 3)
    right = torch.logit(wanted)
    assert float(quality_focal_loss(right, wanted, 2.0)) < 1e-9
    entropy = functional.binary_cross_entropy(logits.sigmoid(), wanted, reduction="none")
    expected = ((logits.sigmoid() - wanted) ** 2 * entropy).sum()
    torch.testing.assert_close(quality_focal_loss(logits, wanted, 2.0), expected)
