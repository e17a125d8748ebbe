"""Films through gateway, services, Redis and worker: series, stored files, calibrations, hostile files."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pydicom
import pytest

from services.medical.chest_xray.demo import chest_film, chest_film_lowest_white, chest_picture
from shared.imaging.pictures import encode_png
from tests.integration.chest_xray.conftest import ROUTE, ChestFleet
from tests.support.archives import zipped

FILM, INVERTED, PICTURE = chest_film(), chest_film_lowest_white(), chest_picture()
NO_CHEST = encode_png(np.tile(np.linspace(0, 255, 160).astype(np.uint8), (200, 1)))
CALIBRATION = {
    "logits": [[2, 0, 1], [0, 2, 1], [1, 0, 2], [2, 1, 0], [0, 1, 0], [0, 0, 2], [1, 0, 0], [0, 2, 0], [1, 1, 2]] * 4,
    "labels": [0, 1, 2, 0, 1, 2, 0, 1, 2] * 4,
    "score": "thr",
    "alpha": [0.2, 0.05],
}


def calibrate(fleet: ChestFleet, **changed: Any) -> str:
    posted = fleet.client.post("/v1/uncertainty/calibrations", json=CALIBRATION | changed)
    assert posted.status_code == 201, posted.text
    made: str = posted.json()["id"]
    return made


def test_a_zip_of_films_becomes_a_job_and_a_bad_film_fails_alone(fleet: ChestFleet) -> None:
    films = (FILM, FILM[:-900], INVERTED, NO_CHEST, PICTURE)
    packed = zipped({f"{number}.bin": film for number, film in enumerate(films)})
    job = fleet.finish(fleet.post(packed, accept="image/png"))
    assert job["status"] == "succeeded", job
    result = job["result"]
    assert [one["file"] for one in result["films"]] == [
        "film-0001.png", None, "film-0003.png", None, "film-0005.png",
    ]  # fmt: skip
    assert "cut off" in result["films"][1]["problem"]["detail"]
    assert result["films"][1]["problem"]["errors"][0]["pointer"] == "/body/file/1"
    assert "not a frontal chest film" in result["films"][3]["problem"]["detail"]
    assert result["model"]["weights_sha256"] == fleet.sha256
    assert "not a medical device" in result["disclaimer"]
    alone = fleet.post(FILM).json()["films"][0]
    found = result["films"][0]["diagnosis"]
    assert found["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
    assert found["attention"]["peak"] == pytest.approx(alone["attention"]["peak"], abs=1e-3)
    for name, file in result["files"].items():
        content = fleet.client.get(file["href"]).content
        assert hashlib.sha256(content).hexdigest() == file["sha256"], name
    overlay = fleet.client.get(result["files"]["film-0001.png"]["href"]).content
    assert overlay == fleet.post(FILM, accept="image/png").content


def test_many_films_become_a_job_and_a_few_do_not(fleet: ChestFleet) -> None:
    few = fleet.post(*[PICTURE] * 8)
    assert few.status_code == 200
    assert len(few.json()["films"]) == 8
    job = fleet.finish(fleet.post(*[PICTURE] * 9))
    assert [one["index"] for one in job["result"]["films"]] == list(range(9))
    assert job["result"]["files"] == {}


def test_several_films_as_dicom_become_a_job(fleet: ChestFleet) -> None:
    job = fleet.finish(fleet.post(FILM, PICTURE, accept="application/dicom", dicom="report"))
    first, second = job["result"]["films"]
    made = pydicom.dcmread(io.BytesIO(fleet.client.get(job["result"]["files"][first["file"]]["href"]).content))
    assert made.Modality == "SR"
    assert "refers to the object" in second["problem"]["detail"]


def test_a_series_of_nothing_that_can_be_read_fails_and_says_why(fleet: ChestFleet) -> None:
    job = fleet.finish(fleet.post(NO_CHEST, prefer="respond-async"))
    assert job["status"] == "failed"
    assert "not a frontal chest film" in job["problem"]["detail"]


def test_a_series_stores_no_files_of_its_own(fleet: ChestFleet) -> None:
    answer = fleet.post(FILM, prefer="respond-async", store="png")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/body/store")


def test_files_of_an_answer_are_stored_and_linked(fleet: ChestFleet) -> None:
    files = fleet.post(FILM, store="png", screen="false").json()["files"]
    assert fleet.client.get(files["png"]["href"]).content == fleet.post(FILM, accept="image/png").content


def test_a_calibration_answers_sets(fleet: ChestFleet) -> None:
    made = calibrate(fleet, model_sha256=fleet.sha256)
    films = fleet.post(FILM, PICTURE, calibration=made).json()["films"]
    for film in films:
        sets = film["conformal"]["sets"]
        assert [one["alpha"] for one in sets] == [0.2, 0.05]
        assert film["conformal"]["calibration"] == made
        assert film["conformal"]["guarantee"]
        asked = fleet.client.post(
            f"/v1/uncertainty/calibrations/{made}/predictions",
            json={"logits": [film["logits"]], "model_sha256": fleet.sha256},
        ).json()
        names = [["normal", "chf_like", "pneumonia"][label] for label in asked["items"][0]["sets"][0]["labels"]]
        assert sets[0]["classes"] == names
    one = fleet.post(FILM, calibration=made, alpha="0.5").json()["films"][0]["conformal"]
    assert [each["alpha"] for each in one["sets"]] == [0.5]
    job = fleet.finish(fleet.post(FILM, prefer="respond-async", calibration=made))
    assert job["result"]["films"][0]["diagnosis"]["conformal"]["sets"] == films[0]["conformal"]["sets"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"model_sha256": "0" * 64}, 409),
        ({}, 409),
        ({"logits": [[1, 2]] * 36, "labels": [0, 1] * 18}, 409),
    ],
    ids=["of another model", "of a model that it does not name", "of two classes"],
)
def test_a_calibration_of_something_else_is_refused(fleet: ChestFleet, changed: dict[str, Any], status: int) -> None:
    answer = fleet.post(FILM, calibration=calibrate(fleet, **changed))
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/body/calibration"


def test_a_calibration_of_two_classes_of_this_model_is_refused(fleet: ChestFleet) -> None:
    made = calibrate(fleet, logits=[[1, 2]] * 36, labels=[0, 1] * 18, model_sha256=fleet.sha256)
    answer = fleet.post(FILM, calibration=made)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (409, "/body/calibration")
    assert "classes" in answer.json()["detail"]


def test_a_calibration_that_does_not_exist_is_not_found(fleet: ChestFleet) -> None:
    answer = fleet.post(FILM, calibration="019878a1-0000-7000-8000-000000000000")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (404, "/body/calibration")


def changed(**elements: Any) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(FILM))
    for keyword, value in elements.items():
        if keyword in dataset:
            del dataset[keyword]
        dataset.add_new(keyword, *value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def long_header() -> bytes:
    """A film behind thirty thousand private elements."""
    dataset = pydicom.dcmread(io.BytesIO(FILM))
    for number in range(30_000):
        dataset.add_new((0x0009 + 2 * (number // 200), 0x1000 + number % 200), "LO", "x" * 20)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


HOSTILE: dict[str, tuple[bytes, set[int]]] = {
    "empty": (b"", {422}),
    "half a preamble": (FILM[:100], {415}),
    "a head alone": (FILM[:400], {422}),
    "half": (FILM[: len(FILM) // 2], {422}),
    "a window that is no number": (changed(WindowCenter=("LO", "nan"), WindowWidth=("LO", "nan")), {422}),
    "a window of no width": (changed(WindowCenter=("DS", "1"), WindowWidth=("DS", "0")), {422}),
    "no rows": (changed(Rows=("US", 0)), {422}),
    "a side of 65535": (changed(Rows=("US", 65535), Columns=("US", 65535)), {413}),
    "a long header": (long_header(), {200, 413, 422}),
    "a png of a page": (b"\x89PNG\r\n\x1a\n<html>", {422}),
    "a png that is cut off": (PICTURE[:-70], {422}),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("as_body", [False, True], ids=["form", "body"])
def test_hostile_files_are_answered_with_problems(fleet: ChestFleet, name: str, as_body: bool) -> None:
    data, statuses = HOSTILE[name]
    if as_body:
        answer = fleet.client.post(
            ROUTE, content=data, params={"screen": "false"}, headers={"Content-Type": "application/octet-stream"}
        )
    else:
        answer = fleet.post(data, screen="false")
    assert answer.status_code in statuses, answer.text
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["pointer"] == ("/body" if as_body else "/body/file/0")
    assert fleet.post(PICTURE).status_code == 200, "the next film is answered"
