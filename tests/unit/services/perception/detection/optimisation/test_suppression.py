"""Suppression against a plain loop and onnxruntime's operator; the choice of answers."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

from services.optimisation.overlaps import iou_matrix, suppress
from services.perception.detection.optimisation.instances import Predictions
from services.perception.detection.optimisation.suppression import DetectionOptions, select
from tests.support.detectors import random_boxes


def suppress_in_a_loop(boxes: Tensor, scores: Tensor, overlap: float, labels: Tensor) -> list[int]:
    overlaps, kept = iou_matrix(boxes, boxes).tolist(), list[int]()
    for index in scores.argsort(descending=True, stable=True).tolist():
        rivals = [other for other in kept if labels[other] == labels[index]]
        if all(overlaps[index][other] <= overlap for other in rivals):
            kept.append(index)
    return kept


@pytest.mark.parametrize("overlap", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("count", [0, 1, 2, 150])
def test_it_is_the_greedy_answer(count: int, overlap: float) -> None:
    boxes, scores = random_boxes(count, height=60, width=60, seed=count), torch.rand(count)
    labels, same = torch.randint(0, 3, (count,)), torch.zeros(count)
    assert suppress(boxes, scores, overlap=overlap).tolist() == suppress_in_a_loop(boxes, scores, overlap, same)
    found = suppress(boxes, scores, overlap=overlap, labels=labels)
    assert found.tolist() == suppress_in_a_loop(boxes, scores, overlap, labels)


def test_a_long_chain_of_boxes_is_settled() -> None:
    left = torch.arange(60.0) * 4
    boxes = torch.stack((left, torch.zeros(60), left + 10, torch.full((60,), 10.0)), dim=1)
    scores = torch.linspace(1, 0.1, 60)
    assert suppress(boxes, scores, overlap=0.3).tolist() == list(range(0, 60, 2))


def test_it_is_what_onnxruntime_computes() -> None:
    boxes, scores = random_boxes(300, height=80, width=80), torch.rand(300)
    names = ["boxes", "scores", "most", "overlap"]
    node = helper.make_node("NonMaxSuppression", names, ["chosen"])
    kinds = [TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT64, TensorProto.FLOAT]
    shapes = [[1, 300, 4], [1, 1, 300], [1], [1]]
    inputs = [helper.make_tensor_value_info(*one) for one in zip(names, kinds, shapes, strict=True)]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("chosen", TensorProto.INT64, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = (boxes[None].numpy(), scores[None, None].numpy(), np.array([300]), np.array([0.6], np.float32))
    chosen = session.run(None, dict(zip(names, values, strict=True)))[0]
    assert suppress(boxes, scores, overlap=0.6).tolist() == chosen[:, 2].tolist()


def test_answers_are_sure_apart_and_few() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [50, 50, 60, 60]])
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.7], [0.3, 0.05], [0.05, 0.2]])
    found = select(Predictions(boxes, scores), DetectionOptions())
    assert found.labels.tolist() == [0, 1, 0, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.7, 0.3, 0.2]))
    torch.testing.assert_close(found.boxes, boxes)
    assert len(select(Predictions(boxes, scores), DetectionOptions(most=2))) == 2
    assert len(select(Predictions(boxes, scores), DetectionOptions(score=0.95))) == 0
    assert len(select(Predictions(boxes, scores), DetectionOptions(overlap=0.9))) == 5
    assert select(Predictions(boxes, scores), DetectionOptions(overlap=0.9, candidates=1)).scores.tolist() == [
        pytest.approx(0.9)
    ]
    assert len(select(Predictions(boxes[:0], scores[:0]), DetectionOptions())) == 0
    assert len(found.above(0.5)) == len(found.as_targets(0.5)) == 2
    unsure = found.as_targets(0.5).unsure
    assert unsure is not None
    assert torch.equal(unsure, found.boxes[2:])


def test_each_class_may_have_a_box_of_its_own() -> None:
    boxes, scores = torch.rand(4, 2, 4).cumsum(dim=2) * 100, torch.rand(4, 2)
    found = select(Predictions(boxes, scores), DetectionOptions(score=0, overlap=1.0))
    order = scores.flatten().argsort(descending=True)
    torch.testing.assert_close(found.boxes, boxes.reshape(-1, 4)[order])
    assert found.labels.tolist() == (order % 2).tolist()
