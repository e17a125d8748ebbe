"""The released detectors take the cars for cars, so that there is something to hide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.security.camouflage.evaluation.contact_sheet import PAINTS
from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.meshes.cars import CARS, CarName, make_car
from services.security.camouflage.rendering.backgrounds import draw_street
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.frames import finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS, make_daylight
from shared.detectors.inference import Selection, detect_blocking, see
from shared.detectors.models import Detector, read_detector
from shared.runtime.cards import read_card, read_weights
from shared.runtime.models.sessions import OnnxModel

MODELS = Path(__file__).parents[6] / "services" / "perception" / "models"
VEHICLES = {"vehicle", "car", "truck", "bus"}
SIDE = 256


def open_detector(name: str) -> Detector:
    folder = max((MODELS / name).iterdir())
    card = read_card(folder)
    return read_detector(OnnxModel(card, read_weights(folder, card), threads=1))


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    common = float(np.maximum(sides, 0).prod())
    return common / float((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - common)


def best_score(detector: Detector, name: CarName, azimuth: float) -> float:
    """The score of the surest vehicle that is where the car is; 0 for none."""
    camera = Camera(azimuth, 12, 10.0, 32, 160, 120)
    mesh = make_car(name)
    scene = make_scene(mesh, camera, (SIDE, SIDE))
    frame = make_frame(scene, make_daylight(60, 50), MATERIALS, draw_street(camera, int(azimuth)))
    paint = np.broadcast_to(np.array(PAINTS[name], np.float32), (SIDE, SIDE, 3))
    picture = finish_frame(frame, paint, map_atlas(mesh, SIDE, SIDE).mask)
    selection = Selection(0.01, detector.role.iou_threshold, 100)
    found = detect_blocking(see((picture * 255 + 0.5).astype(np.uint8), detector), detector, selection)
    assert scene.view.box is not None
    box = np.array(scene.view.box, np.float32)
    scores = [
        float(score)
        for one, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
        if detector.role.classes[label] in VEHICLES and overlap(one, box) >= 0.5
    ]
    return max(scores, default=0.0)


@pytest.mark.parametrize(("name", "score"), [("vehicle-detector", 0.5), ("nanodet", 0.25)])
def test_plain_cars_are_found(name: str, score: float) -> None:
    detector = open_detector(name)
    scores = [best_score(detector, car, azimuth) for car in CARS for azimuth in (20, 140, 260)]
    assert np.mean(np.array(scores) >= score) > 0.85
