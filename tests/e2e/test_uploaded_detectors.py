"""An exported detector that is uploaded is served, and measured by a worker that reads its file: real processes."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from services.perception.detection.capability import PATH
from services.perception.detection.demo import HEIGHT, PICTURES, WIDTH, annotated_streets, street
from services.perception.detection.optimisation.exporting import export_detector
from tests.support.detector_models import upload_detector
from tests.support.detectors import ARCHITECTURES, CLASSES, sharpen, tiny_detector


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_uploaded_detector_is_asked_and_measured(client: httpx.Client, architecture: str) -> None:
    network, name = tiny_detector(architecture), f"own-{architecture}"
    sharpen(network)
    content = export_detector(network)
    upload_detector(client, content, name=name, classes=list(CLASSES), short_side=128, long_side=224)
    form = {"model": name, "score_threshold": "0.05"}
    answer = client.post(PATH, files={"file": street()}, data=form)
    assert answer.status_code == 200, answer.text
    (picture,) = answer.json()["pictures"]
    boxes = np.array([one["box"] for one in picture["detections"]])
    assert len(boxes) > 3
    assert {one["class_name"] for one in picture["detections"]} <= set(CLASSES)
    assert (boxes >= 0).all()
    assert (boxes <= [WIDTH, HEIGHT, WIDTH, HEIGHT]).all()
    job = client.post(
        f"{PATH}/evaluations",
        files={"file": annotated_streets()},
        data={"model": name, "class_mapping": '{"car": "blue"}'},
        headers={"Prefer": "wait=60"},
    ).json()
    assert job["status"] == "succeeded", job
    report = job["result"]["report"]
    assert report["model"] == answer.json()["model"]
    assert report["dataset"]["pictures"] == PICTURES
    assert {one["name"]: one["pictures"] for one in report["per_class"]} == {"red": 0, "blue": PICTURES, "yellow": 0}
    assert report["coco"]["ap"] < 0.5  # random weights
