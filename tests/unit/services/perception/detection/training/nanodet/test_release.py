"""The released folder as its service opens it, and what its card says beside what is measured again."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.perception.app import create_app
from services.perception.detection.training.data import CARLA
from services.perception.detection.training.nanodet.classes import COCO_NAMES, IN_CARLA
from services.perception.detection.training.nanodet.measure import (
    EVALUATION,
    CarlaDetector,
    ap50_of,
    buckets_of,
    detect_all,
    read_town05,
    vehicle_interval,
)
from services.perception.detection.training.nanodet.release import DETECTION, NAME, with_quality
from shared.detectors.detections import Detections
from shared.runtime.cards import read_card
from shared.runtime.models.sessions import OnnxModel
from shared.settings import get_settings
from tests.support.capability import running_capability

DATA = get_settings().data


def test_card_file_and_notice_belong_together(released: Path) -> None:
    card, content = read_card(released), (released / "model.onnx").read_bytes()
    assert card.weights.sha256 == hashlib.sha256(content).hexdigest()
    assert card.weights.bytes == len(content) <= 8_000_000
    assert card.parity.max_abs_difference < 1e-4
    notice = (released / "NOTICE").read_text()
    for holder in ("RangiLyu", "Vladimir Mandic", "COCO Consortium", "CC BY 4.0", "Flickr"):
        assert holder in notice
    assert any("Apache-2.0" in said and "Flickr" in said for said in (card.licence,))


def test_the_card_says_what_a_capability_needs(released: Path) -> None:
    card = read_card(released)
    said: Any = card.parameters["detection"]
    assert said == json.loads(json.dumps(dict(DETECTION)))
    assert len(set(COCO_NAMES)) == len(said["classes"]) == card.outputs[1].shape[1] == 80
    sizes = [(size.height, size.width) for size in buckets_of(card).sizes]
    assert sizes == [(416, 416)]
    assert {name for names in IN_CARLA.values() for name in names} <= set(COCO_NAMES)


def test_its_figures_are_those_of_the_evaluation(released: Path) -> None:
    card = read_card(released)
    assert with_quality(card, json.loads(EVALUATION.read_text())).quality == card.quality


def test_its_first_run_works_and_it_takes_no_memory_before(released: Path) -> None:
    model = OnnxModel.open(released, threads=1)
    assert not model.is_open()
    assert model.warm_up() > 0
    assert model.is_open()


async def test_its_service_is_ready_and_answers(released: Path, tmp_path: Path) -> None:
    shutil.copytree(released, tmp_path / "models" / "perception" / NAME / released.name)
    async with running_capability(create_app, tmp_path) as client:
        assert (await client.get("/health/ready")).json()["checks"]["models"] == "ok"
        data = np.full(3 * 64 * 96, 0.5).tolist()
        image = {"name": "image", "datatype": "FP32", "shape": [1, 3, 64, 96], "data": data}
        answer = await client.post(f"/v2/models/{NAME}/infer", json={"inputs": [image]})
    assert answer.status_code == 200, answer.text
    assert {one["name"]: one["shape"] for one in answer.json()["outputs"]} == {"boxes": [126, 4], "scores": [126, 80]}


@pytest.mark.data
@pytest.mark.skipif(not (DATA / CARLA.folder).is_dir(), reason=f"no street scenes in FACET_DATA ({CARLA.folder})")
def test_it_finds_vehicles_of_a_town_that_it_never_saw(detector: OnnxModel) -> None:
    annotated = read_town05(DATA, every=4)
    found = detect_all(CarlaDetector(detector), annotated, DATA)
    vehicles = ap50_of(found, annotated)["vehicle"]
    assert vehicles is not None
    assert vehicles >= 0.6
    low, high = vehicle_interval(found, annotated, resamples=20)
    assert 0.4 < low <= high <= 1
    nothing = {name: Detections.none() for name in annotated.pictures}
    assert ap50_of(nothing, annotated)["vehicle"] == 0
