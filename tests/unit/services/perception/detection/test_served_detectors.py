"""Exported detectors as they are served: what comes out is what the network finds, in pixels of the posted picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.perception.detection.detectors import Detectors
from services.perception.detection.inference import read_picture
from services.perception.detection.optimisation.exporting import export_detector
from services.perception.detection.optimisation.suppression import DetectionOptions
from shared.detectors.detections import Detections
from shared.detectors.inference import Selection, detect_blocking, finish
from shared.detectors.letterboxing import Size
from shared.detectors.models import Detector
from shared.problems import NotFound, ServiceUnavailable, UnprocessableContent
from shared.runtime.models.registry import ModelRegistry
from tests.support.detection import BOXES, SCORES, encoded, release_detectors
from tests.support.detector_models import constant_detector, detector_card, release_detector
from tests.support.detectors import ARCHITECTURES, CLASSES, sharpen, tiny_detector

each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
SIDES = {"short_side": 96, "long_side": 160}


def opened(models: Path) -> ModelRegistry:
    registry = ModelRegistry(models, threads=1)
    registry.open()
    return registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    """Detectors of random weights, exported, and those whose boxes are known."""
    models = tmp_path_factory.mktemp("detectors")
    release_detectors(models)
    for architecture in ARCHITECTURES:
        network = tiny_detector(architecture)
        sharpen(network)
        release_detector(models, export_detector(network), name=f"tiny-{architecture}", classes=list(CLASSES), **SIDES)
    return opened(models)


@pytest.fixture(scope="module")
def find(registry: ModelRegistry) -> partial[Detector]:
    return partial(Detectors().find, registry)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Squares of random colours."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    rows, columns = np.arange(height) * 6 // height, np.arange(width) * 8 // width
    return colours[rows][:, columns]


def seen(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], detector: Detector) -> Any:
    return read_picture(encoded(pixels), detector, pixel_limit=10**7, pointer="/body/file/0")


@each_architecture
@pytest.mark.parametrize(("height", "width"), [(96, 160), (96, 130), (48, 70), (300, 200)])
def test_a_served_detector_finds_what_the_network_finds(
    find: partial[Detector], architecture: str, height: int, width: int
) -> None:
    detector = find(f"tiny-{architecture}")
    picture = seen(noise(height, width, seed=height), detector)
    served = detect_blocking(picture, detector, Selection(0.05, 0.5, 100))
    network = tiny_detector(architecture)
    sharpen(network)
    (found,) = network.eval().detect(torch.from_numpy(picture.tensor), DetectionOptions(score=0.05, overlap=0.5))
    factors = np.array([width / picture.letterboxed.scaled.width, height / picture.letterboxed.scaled.height] * 2)
    expected = np.clip(found.boxes.numpy() * factors, 0, [width, height, width, height])
    kept = (expected[:, 2] > expected[:, 0]) & (expected[:, 3] > expected[:, 1])
    assert len(served) == kept.sum() > 3
    np.testing.assert_allclose(served.scores, found.scores.numpy()[kept], atol=1e-4)
    np.testing.assert_array_equal(served.labels, found.labels.numpy()[kept])
    np.testing.assert_allclose(served.boxes, expected[kept], atol=0.05)


def test_small_and_large_pictures_get_the_size_of_the_card(find: partial[Detector]) -> None:
    detector = find("tiny-two-stage")
    for height, width, scaled, bucket in (
        (96, 160, Size(96, 160), Size(96, 160)),
        (10, 10, Size(96, 96), Size(96, 96)),
        (1000, 100, Size(160, 16), Size(160, 96)),
        (96, 100, Size(96, 100), Size(96, 128)),
    ):
        picture = seen(noise(height, width), detector)
        assert (picture.letterboxed.scaled, picture.tensor.shape) == (scaled, (1, 3, bucket.height, bucket.width))
    assert (picture.tensor[0, :, :, 100:] == np.float32(127 / 255)).all()


def test_the_default_is_the_detector_of_vehicles_or_the_first(tmp_path: Path, registry: ModelRegistry) -> None:
    assert Detectors().find(registry, None).reference.name == "bright"
    content = constant_detector(BOXES, SCORES)
    for name in ("other", "vehicle-detector", "a-newer-one"):
        release_detector(tmp_path, content, name=name, classes=["near", "far"])
    assert Detectors().find(opened(tmp_path), None).reference.name == "vehicle-detector"
    with pytest.raises(UnprocessableContent, match="No detector is released here"):
        Detectors().find(opened(tmp_path / "nothing"), None)
    with pytest.raises(ServiceUnavailable):
        Detectors().find(ModelRegistry(tmp_path, threads=1), None)
    with pytest.raises(NotFound):
        Detectors().find(registry, "nothing")


def test_a_card_is_read_once(registry: ModelRegistry) -> None:
    detectors = Detectors()
    assert detectors.find(registry, "fixed") is detectors.find(registry, "fixed", "1")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no classes": ({"classes": []}, "parameters/detection/classes"),
    "a class twice": ({"classes": ["a", "a "]}, "different from each other"),
    "sides": ({"short_side": 200, "long_side": 100}, "at most long_side"),
    "a long side": ({"long_side": 5000}, "parameters/detection/long_side"),
    "a threshold": ({"score_threshold": 1.5}, "parameters/detection/score_threshold"),
    "a colour": ({"fill": [0, 0, 256]}, "parameters/detection/fill/2"),
    "ids": ({"category_ids": [1]}, "as many as classes"),
    "the same ids": ({"category_ids": [1, 1]}, "different from each other"),
    "a limit": ({"limit": 301}, "parameters/detection/limit"),
}


@pytest.mark.parametrize(("role", "said"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_with_a_card_is_said(tmp_path: Path, role: dict[str, Any], said: str) -> None:
    release_detector(tmp_path, constant_detector(BOXES, SCORES), name="own", **{"classes": ["near", "far"], **role})
    with pytest.raises(UnprocessableContent, match=said) as caught:
        Detectors().find(opened(tmp_path), "own")
    assert caught.value.errors[0].pointer == "/body/model"


@pytest.mark.parametrize(
    ("sides", "role", "said"),
    [
        ((96, 128), SIDES, "fixed sides are equal"),
        ((64, 64), SIDES, "no shorter than long_side"),
        ((100, 100), {"short_side": 96, "long_side": 100}, "multiples of 32"),
        (("height", 96), SIDES, "fixed sides are equal"),
    ],
)
def test_fixed_sides_that_do_not_do(
    tmp_path: Path, sides: tuple[int | str, ...], role: dict[str, Any], said: str
) -> None:
    content = constant_detector(BOXES, SCORES, sides=sides)
    release_detector(tmp_path, content, name="own", **{"classes": ["near", "far"], **role})
    with pytest.raises(UnprocessableContent, match=said):
        Detectors().find(opened(tmp_path), "own")


def test_shapes_that_are_no_detector(tmp_path: Path) -> None:
    release_detector(tmp_path, constant_detector(np.zeros((5, 3)), np.zeros((5, 1))), name="three-edges")
    release_detector(tmp_path, constant_detector(np.zeros((5, 2, 4)), np.zeros((5, 1))), name="two-of-one")
    registry = opened(tmp_path)
    for name in ("three-edges", "two-of-one"):
        with pytest.raises(UnprocessableContent, match="boxes has the shape"):
            Detectors().find(registry, name)
    described = detector_card(constant_detector(BOXES, SCORES), name="x")
    assert described["outputs"][0]["shape"] == [4, 4]


def answered(find: partial[Detector], boxes: Any, scores: Any, selection: Selection | None = None) -> Detections:
    """What is made of outputs for a picture of 96 x 96."""
    detector = find("fixed")
    picture = seen(noise(96, 96), detector)
    outputs = [np.asarray(boxes, np.float32), np.asarray(scores, np.float32)]
    return finish(outputs, picture.letterboxed, detector, selection or Selection(0.1, 0.5, 100))


def test_what_is_not_finite_is_no_answer(find: partial[Detector]) -> None:
    boxes = [(0, 0, 10, 10), (np.nan, 0, 50, 50), (0, 0, np.inf, 20), (60, 60, 90, 90)]
    found = answered(find, boxes, [(0.5, np.nan), (0.9, 0), (0.9, 0), (np.nan, 0.3)])
    assert found.boxes.tolist() == [[0, 0, 10, 10], [60, 60, 90, 90]]
    assert found.labels.tolist() == [0, 1]


def test_nothing_and_other_shapes(find: partial[Detector]) -> None:
    assert len(answered(find, np.zeros((0, 4)), np.zeros((0, 2)))) == 0
    assert len(answered(find, np.zeros((0, 2, 4)), np.zeros((0, 2)))) == 0
    for boxes, scores in ((np.zeros((3, 4)), np.zeros((2, 2))), (np.zeros((3, 4)), np.zeros(6)), (np.zeros(4), 0.5)):
        with pytest.raises(UnprocessableContent, match="have the shape"):
            answered(find, boxes, scores)


def test_many_candidates_are_cut_to_the_surest(find: partial[Detector]) -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 90, (6000, 2))
    boxes = np.concatenate([corners, corners + random.uniform(1, 6, (6000, 2))], axis=1)
    scores = random.uniform(0, 1, (6000, 2))
    found = answered(find, boxes, scores, Selection(0, 1, 300))
    assert len(found) == 300
    np.testing.assert_allclose(found.scores, np.sort(scores.ravel())[::-1][:300], rtol=1e-6)


def test_scores_a_little_beyond_their_range_are_rounded(find: partial[Detector]) -> None:
    found = answered(find, [(0, 0, 10, 10), (20, 20, 40, 40)], [(1.0004, 0), (0.5, -0.0004)])
    assert found.scores.tolist() == [1, 0.5]
