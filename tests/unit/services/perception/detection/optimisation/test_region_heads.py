"""The second stage: focal loss, sampling, losses by hand, and vectors of given boxes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from services.perception.detection.optimisation.boxes import encode
from services.perception.detection.optimisation.instances import Targets
from services.perception.detection.optimisation.region_heads import HeadOptions, RegionHeads, focal_loss
from tests.support.detectors import random_boxes

STRIDES = (8, 16, 32)
SIZE = torch.tensor([64.0, 96.0])


def heads(**options: float) -> RegionHeads:
    return RegionHeads(3, 8, STRIDES, HeadOptions(width=16, boundary=30, **options))  # type: ignore[arg-type]


def maps(batch: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(batch, 8, 64 // stride, 96 // stride) for stride in STRIDES)


def test_focal_loss_is_cross_entropy_weighted_by_what_is_missing() -> None:
    logits, labels = torch.randn(20, 4), torch.randint(0, 4, (20,))
    torch.testing.assert_close(focal_loss(logits, labels, 0), functional.cross_entropy(logits, labels))
    likely = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(focal_loss(logits, labels, 1.5), (-((1 - likely) ** 1.5) * likely.log()).mean())
    assert float(focal_loss(logits[:0], labels[:0], 1.5)) == 0


def test_focal_loss_of_a_sure_network_has_finite_gradients() -> None:
    logits = torch.tensor([[100.0, 0.0], [0.0, 100.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([0, 0]), 1.5).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_samples_hold_the_objects_themselves() -> None:
    target = Targets(random_boxes(4, height=64, width=96, seed=1), torch.tensor([2, 0, 1, 2]))
    boxes, labels, wanted = heads(samples=64)._sampled(random_boxes(200, height=64, width=96), target)
    positive = labels < 3
    assert len(boxes) == 64
    assert int(positive.sum()) <= 16
    for box, label in zip(wanted[positive], labels[positive], strict=True):
        index = int((target.boxes == box).all(dim=1).nonzero()[0, 0])
        assert int(label) == int(target.labels[index])
    alone = heads()._sampled(torch.zeros(0, 4), target)
    assert sorted(alone[1].tolist()) == [0, 1, 2, 2]
    torch.testing.assert_close(alone[0], alone[2])


def test_losses_are_those_of_the_sampled_boxes() -> None:
    head, features = heads(gamma=0), maps(1)
    target = Targets(random_boxes(4, height=64, width=96, seed=1), torch.tensor([2, 0, 1, 2]))
    torch.nn.init.normal_(head.regress.weight, std=0.1)
    found = head.losses(features, [torch.zeros(0, 4)], [target])
    logits, deltas = head(head.box_features(features, [target.boxes]))
    torch.testing.assert_close(found["region_classes"], functional.cross_entropy(logits, target.labels))
    codes = encode(target.boxes, target.boxes)
    expected = (deltas[torch.arange(4), target.labels] - codes).abs().sum() / 4
    torch.testing.assert_close(found["region_boxes"], expected)


@torch.no_grad()
def test_images_without_objects_and_without_proposals_have_finite_losses() -> None:
    head, empty = heads(), Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    found = head.losses(maps(2), [torch.zeros(0, 4), random_boxes(9, height=64, width=96)], [empty, empty])
    assert float(found["region_classes"]) > 0
    assert float(found["region_boxes"]) == 0
    nothing = head.losses(maps(1), [torch.zeros(0, 4)], [empty])
    assert {float(value) for value in nothing.values()} == {0.0}


@torch.no_grad()
def test_vectors_stand_in_the_order_of_the_boxes() -> None:
    head, features = heads(), maps(2)
    boxes = [random_boxes(count, height=64, width=96, seed=count) for count in (5, 300)]
    whole = head.box_features(features, boxes)
    assert whole.shape == (305, 16)
    order = torch.randperm(300)
    mixed = head.box_features(features, [boxes[0], boxes[1][order]])
    torch.testing.assert_close(mixed[5:], whole[5:][order])
    second = tuple(one[1:] for one in features)
    torch.testing.assert_close(head.box_features(second, [boxes[1]]), whole[5:])
    assert head.box_features(features, [boxes[0][:0], boxes[1][:0]]).shape == (0, 16)


@pytest.mark.parametrize("count", [0, 1, 30])
@torch.no_grad()
def test_scores_leave_the_background_out(count: int) -> None:
    found = heads().predict(maps(1), random_boxes(count, height=64, width=96), SIZE)
    assert found.boxes.shape == (count, 3, 4)
    assert found.scores.shape == (count, 3)
    assert bool((found.scores.sum(dim=1) < 1).all())
    assert bool(((found.boxes >= 0) & (found.boxes <= SIZE.flip(0).repeat(2))).all())
