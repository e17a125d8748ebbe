"""Thresholds, and non-maximum suppression beside onnxruntime's operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from shared.detectors.detections import Detections, intersection_over_union, suppress_overlaps


def random_detections(seed: int, count: int, classes: int) -> Detections:
    random = np.random.default_rng(seed)
    corner = random.integers(0, 40, (count, 2)) / random.choice([1, 7])
    sides = random.integers(0, 30, (count, 2)) / random.choice([1, 7])
    scores = random.integers(0, 20, count) / 20 if seed % 2 else random.random(count)
    boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
    return Detections(boxes, scores.astype(np.float32), random.integers(0, classes, count))


@pytest.fixture(scope="module")
def operator() -> onnxruntime.InferenceSession:
    inputs = {"boxes": (TensorProto.FLOAT, 3), "scores": (TensorProto.FLOAT, 3)}
    inputs |= {"limit": (TensorProto.INT64, 1), "iou": (TensorProto.FLOAT, 1)}
    graph = helper.make_graph(
        [helper.make_node("NonMaxSuppression", list(inputs), ["kept"])],
        "suppression",
        [helper.make_tensor_value_info(name, kind, [None] * axes) for name, (kind, axes) in inputs.items()],
        [helper.make_tensor_value_info("kept", TensorProto.INT64, [None, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def onnx_suppression(
    session: onnxruntime.InferenceSession, detections: Detections, iou: float, limit: int
) -> NDArray[Any]:
    kept = []
    for label in np.unique(detections.labels):
        places = np.flatnonzero(detections.labels == label)
        fed = {
            "boxes": detections.boxes[places][None],
            "scores": detections.scores[places][None, None],
            "limit": np.array([limit]),
            "iou": np.array([iou], np.float32),
        }
        kept += places[session.run(None, fed)[0][:, 2]].tolist()
    return np.array(sorted(kept), np.intp)


@pytest.mark.parametrize("seed", range(60))
def test_suppression_equals_onnxruntime(operator: onnxruntime.InferenceSession, seed: int) -> None:
    detections = random_detections(seed, count=5 * seed + 1, classes=1 + seed % 4)
    for iou, limit in ((0.5, 1000), (0.3, 3), (0.0, 1000), (1.0, 1000)):
        kept = suppress_overlaps(detections, iou_threshold=iou, limit_per_class=limit)
        expected = detections.take(onnx_suppression(operator, detections, iou, limit)).best(1000)
        np.testing.assert_array_equal(kept.boxes, expected.boxes)
        np.testing.assert_array_equal(kept.scores, expected.scores)
        np.testing.assert_array_equal(kept.labels, expected.labels)


def test_nothing_stays_nothing() -> None:
    assert len(suppress_overlaps(Detections.none(), iou_threshold=0.5)) == 0
    assert len(Detections.none().scored_at_least(0.5).best(3)) == 0


def test_classes_do_not_suppress_each_other() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    found = Detections(boxes, np.array([0.5, 0.9, 0.7], np.float32), np.array([0, 1, 0]))
    kept = suppress_overlaps(found, iou_threshold=0.5)
    assert kept.labels.tolist() == [1, 0]
    assert kept.scores.tolist() == pytest.approx([0.9, 0.7])


def test_overlap_by_hand() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 0, 10]], np.float32)
    others = np.array([[5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10]], np.float32)
    np.testing.assert_allclose(intersection_over_union(boxes, others), [[1 / 3, 0.0, 1.0], [0.0, 0.0, 0.0]], rtol=1e-6)


def test_thresholds_keep_what_equals_them() -> None:
    found = Detections(np.zeros((3, 4), np.float32), np.array([0.3, 0.1, 0.2], np.float32), np.zeros(3, np.int64))
    assert found.scored_at_least(0.2).scores.tolist() == pytest.approx([0.3, 0.2])
    assert found.best(2).scores.tolist() == pytest.approx([0.3, 0.2])


@pytest.mark.parametrize(
    ("boxes", "scores", "labels"),
    [
        (np.zeros((2, 3), np.float32), np.zeros(2, np.float32), np.zeros(2, np.int64)),
        (np.zeros((2, 4), np.float64), np.zeros(2, np.float32), np.zeros(2, np.int64)),
        (np.zeros((2, 4), np.float32), np.zeros(1, np.float32), np.zeros(2, np.int64)),
        (np.zeros((2, 4), np.float32), np.zeros(2, np.float32), np.zeros(2, np.int32)),
    ],
)
def test_other_shapes_and_types_are_refused(boxes: NDArray[Any], scores: NDArray[Any], labels: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Detections(boxes, scores, labels)
