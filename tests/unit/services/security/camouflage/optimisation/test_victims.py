"""Victims are the detectors that are served: same boxes, same scores, a gradient that is right, weights that stay."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor

from services.security.camouflage.detection.vehicles import vehicle_labels
from services.security.camouflage.optimisation.letterboxing import Letterbox
from services.security.camouflage.optimisation.victims import Candidates, Victim, open_victim
from shared.detectors.inference import see
from shared.detectors.letterboxing import Buckets, Size
from shared.detectors.letterboxing import letterbox as lay_served
from shared.detectors.models import Detector, read_detector
from shared.detectors.roles import IMAGE
from shared.problems import UnprocessableContent
from shared.runtime.cards import ModelCard
from shared.runtime.models.sessions import OnnxModel
from tests.support.detector_models import constant_detector, detector_card
from tests.unit.services.security.camouflage.optimisation.graphs.exported_detectors import exported
from tests.unit.services.security.camouflage.rendered_cars import photograph, quantised, read_model

SIDE = 128
PLACES = (("sedan", 20.0), ("van", 140.0))
ONE: dict[str, Any] = {"classes": ["vehicle"], "short_side": 64, "long_side": 64}


def open_released(name: str) -> tuple[Victim, Detector]:
    card, weights = read_model(name)
    return open_victim(card, weights, side=SIDE), read_detector(OnnxModel(card, weights, threads=1))


def card_of(content: bytes, **role: Any) -> ModelCard:
    return ModelCard.model_validate(detector_card(content, name="theirs", **{**ONE, **role}))


def tensors(pictures: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(torch.float32)


def best(candidates: Candidates, place: int) -> tuple[float, np.ndarray]:
    region = int(candidates.scores[place].argmax())
    return float(candidates.scores[place, region].detach()), candidates.boxes[place, region].numpy()


@pytest.mark.parametrize(
    ("name", "apart"), [("vehicle-detector", 0.01), ("vehicle-detector-two-stage", 0.01), ("nanodet", 0.03)]
)
def test_it_sees_what_the_served_detector_sees(name: str, apart: float) -> None:
    victim, served = open_released(name)
    before = victim.weights_digest()
    shown = [quantised(photograph(car, azimuth, SIDE)[0]) for car, azimuth in PLACES]
    pictures = tensors([one.astype(np.float32) / 255 for one in shown]).requires_grad_()
    found = victim.see(pictures)
    labels = list(vehicle_labels(served.role.classes, model=name, pointer="/"))
    for place, picture in enumerate(shown):
        seen = see(picture, served)
        boxes, scores = served.model.run({IMAGE: seen.tensor})
        surest = scores[:, labels].max(axis=1)
        of_class = boxes.reshape(len(scores), -1, 4)[[surest.argmax()], 0]  # a two-stage detector has boxes by class
        wanted = seen.letterboxed.to_posted(of_class)[0]
        score, box = best(found, place)
        assert surest.max() > 0.3
        assert score == pytest.approx(surest.max(), abs=apart)  # the served one rounds the scaled picture to bytes
        np.testing.assert_allclose(box, wanted, atol=0.5)
    (gradient,) = torch.autograd.grad(found.scores.amax(dim=1).sum(), pictures)
    assert (gradient.abs().amax((1, 2, 3)) > 0).all()
    assert not found.boxes.requires_grad
    assert victim.weights_digest() == before
    assert victim.digest == hashlib.sha256(read_model(name)[1]).hexdigest() == served.model.card.weights.sha256


@pytest.mark.parametrize("name", ["vehicle-detector", "vehicle-detector-two-stage", "nanodet"])
def test_of_the_same_tensor_it_computes_what_onnxruntime_computes(name: str) -> None:
    victim, served = open_released(name)
    bucket = victim.letterbox.bucket
    tensor = np.random.default_rng(0).random((1, 3, bucket.height, bucket.width), np.float32)
    wanted = served.model.run({IMAGE: tensor})
    boxes, scores = victim.graph(torch.from_numpy(tensor))
    order, expected = scores.amax(1).argsort(descending=True)[:50].numpy(), wanted[1].max(1).argsort()[::-1][:50]
    np.testing.assert_allclose(scores.numpy()[order], wanted[1][expected], atol=1e-5)
    np.testing.assert_allclose(boxes.numpy()[order], wanted[0][expected], atol=1e-2)


def test_the_gradient_of_the_best_score_is_that_of_finite_differences() -> None:
    card, weights = read_model("vehicle-detector")
    victim = open_victim(card, weights, side=96, precision=torch.float64)
    picture = tensors([photograph("sedan", 20, 96)[0]]).double().requires_grad_()
    direction = torch.randn(picture.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def surest(shift: float) -> Tensor:
        return victim.see(picture + shift * direction).scores.amax()

    (gradient,) = torch.autograd.grad(surest(0.0), picture)
    with torch.no_grad():  # so small a step, since thousands of rectifiers have kinks
        slope = float(surest(1e-8) - surest(-1e-8)) / 2e-8
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4)
    assert abs(slope) > 1e-4


def test_boxes_of_each_class_are_those_of_its_surest_vehicles() -> None:
    boxes = [[[0, 0, 8, 8], [16, 8, 32, 24], [0, 0, 64, 64]], [[0, 0, 4, 4], [-8, 40, 80, 80], [8, 8, 16, 16]]]
    scores = [[0.9, 0.5, 0.2], [0.8, 0.1, 1.0004]]
    content = constant_detector(boxes, scores)
    victim = open_victim(card_of(content, classes=["person", "Car", " truck"]), content, side=32)
    found = victim.see(torch.zeros(2, 3, 32, 32))
    torch.testing.assert_close(found.scores, torch.tensor([[0.5, 1.0]] * 2))
    torch.testing.assert_close(found.boxes, torch.tensor([[[8.0, 4, 16, 12], [4, 4, 8, 8]]] * 2))


def test_a_detector_of_two_stages_is_attacked_picture_by_picture() -> None:
    detector, content = exported("two-stage")
    victim = open_victim(card_of(content, classes=["car", "bus", "cat"]), content, side=64)
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = victim.see(pictures)
    wanted = [detector.predict(one[None])[0].scores[:, :2].amax(1).detach() for one in pictures.detach()]
    assert found.boxes.shape == (3, max(map(len, wanted)), 4)
    for place, scores in enumerate(wanted):
        torch.testing.assert_close(found.scores[place, : len(scores)].detach(), scores, atol=1e-4, rtol=0)
        assert not found.scores[place, len(scores) :].any()
    (gradient,) = torch.autograd.grad(found.scores.amax(dim=1).sum(), pictures)
    assert gradient.abs().amax((1, 2, 3)).min() > 0


@pytest.mark.parametrize("size", [Size(128, 128), Size(48, 96), Size(300, 200), Size(64, 64)])
def test_pictures_are_laid_into_buckets_as_they_are_where_they_are_served(size: Size) -> None:
    buckets = Buckets.of_sides(64, 96, fill=(127, 0, 255))
    letterbox = Letterbox(size, buckets)
    picture = np.random.default_rng(0).integers(0, 256, (size.height, size.width, 3), np.uint8)
    served = lay_served(picture, buckets)
    laid = letterbox.lay(tensors([picture.astype(np.float32) / 255]))[0].permute(1, 2, 0).numpy() * 255
    assert laid.shape == served.pixels.shape
    assert np.abs(laid - served.pixels).max() <= 1.01
    boxes = np.array([[-4, 3, 20, 999]], np.float32)
    np.testing.assert_allclose(
        letterbox.to_pictures(torch.from_numpy(boxes)).numpy(), served.to_posted(boxes), atol=1e-4
    )


def test_what_is_no_victim_is_refused_with_the_field_and_the_reason() -> None:
    constant = constant_detector([[0, 0, 8, 8]], [[0.5]])
    cats = card_of(constant, classes=["cat"])
    damaged = card_of(constant).model_copy(update={"weights": read_model("nanodet")[0].weights})
    plain = card_of(constant).model_copy(update={"parameters": {}})
    wrong = ((cats, "finds cat, and none of bus, car"), (damaged, "card says 7598407"), (plain, "parameters.detection"))
    for card, said in wrong:
        with pytest.raises(UnprocessableContent) as refused:
            open_victim(card, constant, side=64, pointer="/body/detector")
        assert said in refused.value.detail
        assert refused.value.errors[0].pointer == "/body/detector"
    victim = open_victim(card_of(constant), constant, side=64)
    with pytest.raises(ValueError, match="pictures are"):
        victim.see(torch.zeros(1, 3, 32, 32))


def test_a_detector_with_an_unknown_operator_is_refused_by_its_name() -> None:
    model = onnx.load_model_from_string(constant_detector([[0, 0, 8, 8]], [[0.5]]))
    first = model.graph.node[0]
    model.graph.node.insert(0, helper.make_node("Det", [IMAGE], ["determinants"]))
    model.graph.node.insert(1, helper.make_node("ReduceMean", ["determinants"], ["mean"], keepdims=0))
    model.graph.node.remove(first)
    content = model.SerializeToString()
    with pytest.raises(UnprocessableContent, match="operators that are not known here: Det"):
        open_victim(card_of(content), content, side=64)
