"""Arithmetic of boxes against counted pixels and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from services.optimisation.overlaps import iou_matrix
from services.perception.detection.optimisation.boxes import clip, decode, encode, image_size, large_enough, paired_iou
from tests.support.detectors import random_boxes


def pixels(box: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    left, top, right, bottom = box.int().tolist()
    mask = np.zeros((40, 50), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_iou_is_that_of_counted_pixels() -> None:
    one, other = (random_boxes(12, height=40, width=50, seed=seed).round() for seed in (0, 1))
    found = iou_matrix(one, other)
    for row, first in zip(found, one, strict=True):
        for value, second in zip(row, other, strict=True):
            a, b = pixels(first), pixels(second)
            assert float(value) == pytest.approx((a & b).sum() / max(1, (a | b).sum()), abs=1e-6)
    torch.testing.assert_close(paired_iou(one, other)[0], found.diagonal())
    assert iou_matrix(one[:0], other).shape == (0, 12)
    assert iou_matrix(one, other[:0]).shape == (12, 0)


def test_generalised_iou_knows_how_far_apart_boxes_are() -> None:
    box = torch.tensor([[0.0, 0, 10, 10]]).repeat(4, 1)
    others = torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10], [20, 0, 30, 10], [0, 0, 5, 10]])
    iou, generalised = paired_iou(box, others)
    torch.testing.assert_close(iou, torch.tensor([1.0, 0, 0, 0.5]))
    torch.testing.assert_close(generalised, torch.tensor([1.0, 0, -1 / 3, 0.5]))


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_boxes_are_decoded_as_they_were_encoded(weights: tuple[float, float, float, float]) -> None:
    boxes, anchors = (random_boxes(50, height=300, width=400, seed=seed).double() for seed in (2, 3))
    boxes[:, 2:] += 20
    anchors[:, 2:] += 20
    torch.testing.assert_close(decode(encode(boxes, anchors, weights), anchors, weights), boxes)


def test_deltas_are_those_of_the_paper() -> None:
    anchor, box = torch.tensor([[10.0, 20, 30, 60]]), torch.tensor([[15.0, 30, 55, 50]])
    expected = torch.tensor([[(35 - 20) / 20, 0.0, np.log(2), np.log(0.5)]], dtype=torch.float32)
    torch.testing.assert_close(encode(box, anchor), expected)
    torch.testing.assert_close(encode(box, anchor, (10, 10, 5, 5)), expected * torch.tensor([10.0, 10, 5, 5]))


def test_scales_of_an_untrained_network_stay_finite() -> None:
    found = decode(torch.tensor([[0.0, 0, 100, -100]]), torch.tensor([[0.0, 0, 16, 16]]))
    torch.testing.assert_close(found, torch.tensor([[8 - 500.0, 8, 8 + 500, 8]]))


def test_boxes_of_each_class_share_an_anchor() -> None:
    anchors, deltas = random_boxes(5, height=50, width=50), torch.randn(5, 3, 4)
    found = decode(deltas, anchors[:, None])
    torch.testing.assert_close(found[:, 1], decode(deltas[:, 1], anchors))


def test_boxes_end_at_the_border() -> None:
    size = image_size(torch.zeros(1, 3, 20, 30))
    boxes = torch.tensor([[-5.0, -1, 40, 25], [3, 4, 5, 6], [35, 2, 40, 4]])
    found = clip(boxes, size)
    torch.testing.assert_close(found, torch.tensor([[0.0, 0, 30, 20], [3, 4, 5, 6], [30, 2, 30, 4]]))
    assert large_enough(found, 1.0).tolist() == [True, True, False]
