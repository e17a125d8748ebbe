"""Black boxes: the released detectors find cars as they are served, endpoints answer in many forms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from services.security.camouflage.detection.detectors import LEAST_SCORE, ModelDetector, merge_classes
from services.security.camouflage.detection.endpoint_detector import (
    MOST_OBJECTS,
    EndpointDetector,
    read_objects,
    to_found,
)
from services.security.camouflage.detection.endpoints import DetectorEndpoint
from services.security.endpoints.registration import PICTURE
from shared.detectors.detections import intersection_over_union
from shared.detectors.inference import Selection, detect_blocking, see
from shared.detectors.models import read_detector
from shared.fleet.budget import BudgetExhausted, QueryBudget
from shared.fleet.questions import RetryPolicy
from shared.problems import BadGateway, UnprocessableContent
from shared.runtime.cards import ModelCard
from shared.runtime.models.sessions import OnnxModel
from tests.support.detector_models import bright_detector, constant_detector, detector_card
from tests.unit.services.security.camouflage.rendered_cars import photograph, quantised, read_model
from tests.unit.services.security.caption_attack.remote_captioner import RemoteCaptioner, serving

LOOPBACK = (ip_network("127.0.0.0/8"),)
QUICK = RetryPolicy(first_pause_s=0.001, longest_pause_s=0.002)
PARTS = {"objects": "/found", "boxes": "/box", "scores": "/score", "labels": "/kind"}
FIGURES = np.array([[10, 20, 50, 60], [12, 21, 52, 61], [0, 0, 30, 30], [90, 90, 200, 200]], float)
OBJECTS = [
    {"box": box, "score": score, "kind": kind}
    for box, score, kind in zip(FIGURES.tolist(), (0.4, 0.9, 0.8, 0.3), ("car", "truck", "cat", "bus"), strict=True)
]


@pytest.mark.parametrize("name", ["vehicle-detector", "nanodet"])
def test_released_detectors_find_the_car_as_they_are_served(name: str) -> None:
    card, weights = read_model(name)
    shown, box = photograph("sedan", 20, 160)
    picture = quantised(shown)
    detector = ModelDetector(card, weights, threads=1, pointer="/body/detector")
    found, nothing = detector.find([picture, np.zeros_like(picture)])
    served = read_detector(OnnxModel(card, weights, threads=1))
    labels = [place for place, one in enumerate(served.role.classes) if one in {"vehicle", "car", "bus", "truck"}]
    selection = Selection(LEAST_SCORE, served.role.iou_threshold, 300, frozenset(labels))
    vehicles = detect_blocking(see(picture, served), served, selection)
    assert found.scores[0] == vehicles.scores[0] > 0.3
    np.testing.assert_array_equal(found.boxes[0], vehicles.boxes[0])
    assert intersection_over_union(found.boxes[:1], box[None])[0, 0] > 0.5
    assert len(found) <= len(vehicles)
    assert nothing.scores.max(initial=0) < 0.3
    assert detector.name == f"{name} 1.0.0"
    assert detector.reference.weights_sha256 == card.weights.sha256


def test_a_car_that_is_found_twice_is_one_vehicle() -> None:
    found = merge_classes(FIGURES[[0, 1, 3]], np.array([0.4, 0.9, 0.3]), iou_threshold=0.5)
    np.testing.assert_allclose(found.scores, [0.9, 0.3])
    np.testing.assert_allclose(found.boxes, FIGURES[[1, 3]])
    assert len(merge_classes(np.zeros((0, 4)), np.zeros(0), iou_threshold=0.5)) == 0


@pytest.mark.parametrize(
    ("content", "role", "said"),
    [
        (bright_detector(), {"classes": ["cat"]}, "it has no car to lose"),
        (constant_detector([[0, 0, 8, 8]], [[0.5, 0.5]]), {}, "names 1 classes"),
    ],
)
def test_what_finds_no_vehicles_is_refused(content: bytes, role: dict[str, Any], said: str) -> None:
    card = ModelCard.model_validate(detector_card(content, name="theirs", **role))
    with pytest.raises(UnprocessableContent, match=said) as refused:
        ModelDetector(card, content, threads=1, pointer="/body/transfer/0")
    assert refused.value.errors[0].pointer == "/body/transfer/0"


def endpoint(url: str = "https://detector.example/v1", **chosen: Any) -> DetectorEndpoint:
    registered: dict[str, Any] = {
        "name": "theirs",
        "url": url,
        "request": {"kind": "json", "template": {"inputs": [{"image": f"data:image/png;base64,{PICTURE}"}]}},
        "queries_per_s": 1000,
        "owner": "Detectors Ltd",
        "ownership": "We run this detector and allow tests of it.",
        **PARTS,
    }
    return DetectorEndpoint.model_validate(registered | chosen)


@contextmanager
def asking(document: Any, **chosen: Any) -> Iterator[tuple[EndpointDetector, RemoteCaptioner, QueryBudget]]:
    remote, budget = RemoteCaptioner(lambda *_: (200, {}, orjson.dumps(document))), QueryBudget(5)
    with (
        serving(remote) as url,
        EndpointDetector(endpoint(url, **chosen), budget, networks=LOOPBACK, policy=QUICK) as detector,
    ):
        yield detector, remote, budget


def test_an_endpoint_is_asked_about_each_picture() -> None:
    picture: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    with asking({"found": OBJECTS}) as (detector, remote, budget):
        found = detector.find([picture, picture])
        assert budget.spent == len(remote.requests) == 2
        np.testing.assert_array_equal(remote.picture(1), picture)
        for one in found:
            np.testing.assert_allclose(one.scores, [0.9, 0.3])
            np.testing.assert_allclose(one.boxes, [FIGURES[1], [90, 80, 100, 80]])
        with pytest.raises(BudgetExhausted):
            detector.find([picture] * 4)
        assert len(remote.requests) == 2
        assert detector.name == "theirs"


def test_an_answer_without_objects_is_the_endpoints_fault() -> None:
    with (
        asking({"found": "none"}) as (detector, _, _),
        pytest.raises(BadGateway, match="detector theirs gave an answer that has no objects: there is no list"),
    ):
        detector.find([np.zeros((8, 8, 3), np.uint8)])


CORNER_AND_SIZE = np.concatenate((FIGURES[:, :2], FIGURES[:, 2:] - FIGURES[:, :2]), axis=1)
CENTRES = np.concatenate((FIGURES[:, :2] + CORNER_AND_SIZE[:, 2:] / 2, CORNER_AND_SIZE[:, 2:]), axis=1)


@pytest.mark.parametrize(
    ("boxes", "chosen"),
    [
        (FIGURES, {}),
        (CORNER_AND_SIZE, {"box_format": "size"}),
        (CENTRES / 400, {"box_format": "centre", "relative": True}),
        (FIGURES, {"vehicles": [7, 2]}),
    ],
)
def test_boxes_come_in_many_forms(boxes: NDArray[np.float64], chosen: dict[str, Any]) -> None:
    kinds = [2, True, 7, 1] if "vehicles" in chosen else ["car", "cat", "bus", "dog"]
    lists = {"boxes": boxes.tolist(), "scores": [0.4, 0.9, 0.8, 0.005], "kinds": kinds}
    parallel: dict[str, Any] = {"objects": None, "boxes": "/boxes", "scores": "/scores", "labels": "/kinds"}
    registered = endpoint(**parallel, **chosen)
    found = to_found(registered, *read_objects(registered, orjson.dumps(lists)), height=400, width=400)
    np.testing.assert_allclose(found.scores, [0.8, 0.4])
    np.testing.assert_allclose(found.boxes, FIGURES[[2, 0]], atol=1e-4)
    every = read_objects(endpoint(**{**parallel, "labels": None}, **chosen), orjson.dumps(lists))
    assert len(every[0]) == 4


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"found": [{"box": [1, 2, 3], "score": 0.5, "kind": "car"}]}, "no list of four numbers"),
        ({"found": [{"box": [1, 2, 3, "4px"], "score": 0.5, "kind": "car"}]}, "no list of four numbers"),
        ({"found": [{"box": [1, 2, 3, 4], "kind": "car"}]}, "score not between 0 and 1"),
        ({"found": [{"box": [1, 2, 3, 4], "score": 1.5, "kind": "car"}]}, "score not between 0 and 1"),
        ({"found": [OBJECTS[0]] * (MOST_OBJECTS + 1)}, "at most"),
        ({}, "there is no list at '/found'"),
    ],
)
def test_answers_that_are_no_detections_are_refused(document: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_objects(endpoint(), orjson.dumps(document))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scores": "score"}, "scores is no JSON pointer"),
        ({"vehicles": []}, "at least 1"),
        ({"owner": " "}, "at least 2"),
    ],
)
def test_registrations_that_are_not_sound_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        endpoint(**wrong)
