"""Exported graphs are the torch detectors: for several sizes of images, and for none, one and many regions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.exporting import export_detector
from services.perception.detection.optimisation.instances import Predictions
from services.perception.detection.optimisation.region_proposals import ProposalOptions
from services.perception.detection.optimisation.suppression import DetectionOptions, select
from shared.detectors.roles import BOXES, IMAGE, SCORES
from tests.support.detectors import TINY_STAGES, sharpen, tiny_detector

SIZES = ((96, 128), (160, 96), (288, 448), (32, 32))


def sharp_detector(architecture: str, **proposals: Any) -> Detector:
    detector = tiny_detector(architecture, options=replace(TINY_STAGES, proposals=ProposalOptions(**proposals)))
    sharpen(detector)
    return detector


def opened(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def compare(detector: Detector, session: onnxruntime.InferenceSession, size: tuple[int, int]) -> int:
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(size[1]))
    boxes, scores = session.run([BOXES, SCORES], {IMAGE: image.numpy()})
    expected = detector.predict(image)[0]
    np.testing.assert_allclose(boxes, expected.boxes.numpy(), atol=1e-3)
    np.testing.assert_allclose(scores, expected.scores.numpy(), atol=1e-4)
    answers = [
        select(one, DetectionOptions()) for one in (expected, Predictions(*map(torch.from_numpy, (boxes, scores))))
    ]
    torch.testing.assert_close(answers[0].boxes, answers[1].boxes, atol=1e-3, rtol=0)
    assert answers[0].labels.tolist() == answers[1].labels.tolist()
    return len(scores)


@pytest.mark.parametrize(
    ("options", "counts"), [({}, None), ({"after": 1}, {1}), ({"smallest": 10_000.0}, {0}), ({"overlap": 1.0}, {300})]
)
def test_proposals_of_both_are_the_same(options: dict[str, Any], counts: set[int] | None) -> None:
    detector = sharp_detector("two-stage", **options)
    session = opened(export_detector(detector))
    sizes = SIZES if counts != {300} else SIZES[2:3]
    found = {compare(detector, session, size) for size in sizes}
    assert counts is None or found == counts


def test_the_dense_detector_is_the_same() -> None:
    detector = sharp_detector("single-stage")
    session = opened(export_detector(detector))
    found = [compare(detector, session, size) for size in SIZES]
    assert found == [min(1000, sum(height * width // stride**2 for stride in (8, 16, 32))) for height, width in SIZES]


@pytest.mark.parametrize(
    ("architecture", "boxes"), [("two-stage", ["regions", 3, 4]), ("single-stage", ["regions", 4])]
)
def test_the_graph_states_its_shapes(architecture: str, boxes: list[str | int]) -> None:
    detector = tiny_detector(architecture).train()
    model = onnx.load_model_from_string(export_detector(detector))
    assert detector.training
    shapes = {
        value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {IMAGE: [1, 3, "height", "width"], BOXES: boxes, SCORES: ["regions", 3]}
    operators = {node.op_type for node in model.graph.node}
    assert ("RoiAlign" in operators) == ("NonMaxSuppression" in operators) == (architecture == "two-stage")


def test_an_unknown_detector_has_no_graph() -> None:
    class Unknown(type(tiny_detector("single-stage")).__mro__[1]):  # type: ignore[misc]
        losses = classification_losses = predict = None

    with pytest.raises(TypeError, match="Unknown"):
        export_detector(Unknown(2, tiny_detector("single-stage").backbone))
