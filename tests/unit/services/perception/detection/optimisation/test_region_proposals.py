"""The proposal network: its losses by hand, its proposals, images without objects."""

from __future__ import annotations

import pytest
import torch

from services.optimisation.overlaps import iou_matrix
from services.perception.detection.optimisation.boxes import encode
from services.perception.detection.optimisation.instances import Targets
from services.perception.detection.optimisation.region_proposals import (
    AnchorPredictions,
    ProposalOptions,
    RegionProposalNetwork,
    per_anchor,
)
from tests.support.detectors import ANCHORS, random_boxes

STRIDES = (8, 16, 32)
EMPTY = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
SIZE = torch.tensor([64.0, 96.0])


def network(**options: float) -> RegionProposalNetwork:
    return RegionProposalNetwork(16, STRIDES, ANCHORS, ProposalOptions(**options))  # type: ignore[arg-type]


def maps(batch: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(batch, 16, 64 // stride, 96 // stride) for stride in STRIDES)


def test_outputs_follow_the_anchors() -> None:
    outputs = torch.arange(2 * 6 * 4 * 5).reshape(2, 6, 4, 5)  # three anchors of two values
    found = per_anchor(outputs, 2)
    assert found.shape == (2, 60, 2)
    row, column, anchor = 2, 3, 1
    expected = outputs[1, 2 * anchor : 2 * anchor + 2, row, column]
    assert found[1, (row * 5 + column) * 3 + anchor].tolist() == expected.tolist()


def test_losses_are_zero_of_what_is_right_and_as_computed_by_hand_of_what_is_not() -> None:
    proposer = network(samples=10_000)
    boxes = random_boxes(3, height=64, width=96)
    target = Targets(boxes, torch.zeros(3, dtype=torch.int64))
    anchors = proposer(maps(1)).anchors
    overlaps = iou_matrix(boxes, anchors)
    largest = overlaps == overlaps.amax(dim=1, keepdim=True)
    best = largest.any(dim=0)
    positive = (overlaps.amax(dim=0) >= 0.7) | best
    negative = (overlaps.amax(dim=0) < 0.3) & ~best
    objects = torch.where(best, largest.int().argmax(dim=0), overlaps.argmax(dim=0))
    deltas = torch.zeros_like(anchors)
    deltas[positive] = encode(boxes[objects[positive]], anchors[positive])
    logits = torch.where(positive, 30.0, -30.0)
    right = proposer.losses(AnchorPredictions(anchors, logits[None], deltas[None]), [target])
    assert {name: round(float(value), 6) for name, value in right.items()} == {
        "proposal_objectness": 0,
        "proposal_boxes": 0,
    }
    wrong = proposer.losses(AnchorPredictions(anchors, 0 * logits[None], deltas[None] + 0.5), [target])
    assert float(wrong["proposal_objectness"]) == pytest.approx(0.693147, abs=1e-5)
    share = int(positive.sum()) / int((positive | negative).sum())
    assert float(wrong["proposal_boxes"]) == pytest.approx(4 * 0.5 * share, rel=1e-5)


def test_images_without_objects_are_all_background() -> None:
    proposer = network()
    found = proposer.losses(proposer(maps(2)), [EMPTY, EMPTY])
    assert float(found["proposal_boxes"].detach()) == 0
    assert 0 < float(found["proposal_objectness"].detach()) < 1
    sum(found.values()).backward()  # type: ignore[union-attr]


def test_proposals_are_few_apart_inside_and_the_surest_first() -> None:
    proposer = network(before=200, after=20)
    predictions = proposer(maps(2))
    predictions = AnchorPredictions(
        predictions.anchors, torch.randn_like(predictions.logits), 0.3 * torch.randn_like(predictions.deltas)
    )
    for boxes in proposer.propose(predictions, SIZE):
        assert 1 <= len(boxes) <= 20
        assert bool((boxes >= 0).all())
        assert bool((boxes[:, 2:] <= SIZE.flip(0)).all())
        overlaps = iou_matrix(boxes, boxes).fill_diagonal_(0)
        assert float(overlaps.max()) <= 0.7
    assert [len(boxes) for boxes in network(smallest=1000).propose(predictions, SIZE)] == [0, 0]
    assert [len(boxes) for boxes in network(after=1).propose(predictions, SIZE)] == [1, 1]
