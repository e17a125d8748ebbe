"""The teacher is the running mean of its students, and labels what it is sure of."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from services.perception.detection.optimisation.mean_teacher import follow, label_pictures, make_teacher
from services.perception.detection.optimisation.suppression import DetectionOptions
from tests.support.detectors import tiny_detector


def test_the_teacher_is_a_mean_with_falling_weights() -> None:
    student = tiny_detector("two-stage")
    teacher = make_teacher(student)
    first = {name: value.clone() for name, value in student.state_dict().items()}
    added = (1.0, -2.0, 0.5)
    for one in added:
        with torch.no_grad():
            for name, value in student.state_dict().items():
                value.copy_(first[name] + one)
        follow(teacher, student, 0.9)
    expected = sum(0.1 * 0.9 ** (len(added) - 1 - place) * one for place, one in enumerate(added))
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(value, first[name] + expected)


def test_counters_are_copied_and_statistics_averaged() -> None:
    student = tiny_detector("single-stage")
    student.add_module("norm", nn.BatchNorm2d(3))
    teacher = make_teacher(student)
    norm = student.get_submodule("norm")
    norm.train()
    norm(torch.randn(2, 3, 4, 4) + 5)
    follow(teacher, student, 0.5)
    known, followed = student.state_dict(), teacher.state_dict()
    assert int(followed["norm.num_batches_tracked"]) == 1
    torch.testing.assert_close(followed["norm.running_mean"], known["norm.running_mean"] / 2)


def test_a_teacher_learns_nothing_itself() -> None:
    student = tiny_detector("two-stage")
    teacher = make_teacher(student)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert any(parameter.requires_grad for parameter in student.parameters())
    before = copy.deepcopy(teacher.state_dict())
    with torch.no_grad():
        next(student.parameters()).add_(1)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


@pytest.mark.parametrize("threshold", [0.05, 0.26, 0.99])
def test_labels_are_what_scores_above_the_threshold(threshold: float) -> None:
    teacher, images = make_teacher(tiny_detector("two-stage")), torch.rand(2, 3, 64, 96)
    labels = label_pictures(teacher, images, threshold=threshold)
    sure = [found.above(threshold) for found in teacher.detect(images, DetectionOptions(score=threshold, most=300))]
    assert [len(one) for one in labels] == [len(one) for one in sure]
    for label, one in zip(labels, sure, strict=True):
        assert torch.equal(label.boxes, one.boxes)
        assert not label.boxes.requires_grad
        assert label.unsure is not None
        assert len(label.unsure) == 0


def test_what_scores_less_than_a_label_may_be_left_open() -> None:
    teacher, images = make_teacher(tiny_detector("two-stage")), torch.rand(2, 3, 64, 96)
    scores = torch.cat([one.scores for one in teacher.detect(images, DetectionOptions(score=0.0, most=300))])
    threshold, unsure = float(scores.quantile(0.9)), float(scores.quantile(0.5))
    labels = label_pictures(teacher, images, threshold=threshold, unsure=unsure)
    whole = label_pictures(teacher, images, threshold=unsure)
    for label, one in zip(labels, whole, strict=True):
        assert label.unsure is not None
        assert 0 < len(label) < len(one)
        assert torch.equal(torch.cat((label.boxes, label.unsure)), one.boxes)
