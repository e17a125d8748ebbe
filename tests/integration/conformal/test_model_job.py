"""A classifier of the fleet is calibrated by a job: service, Redis, a real worker, and a real perception service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.uncertainty.conformal.application.fleet_models import classified, fleet_client
from shared.datasets.traffic_sign_names import SIGNS
from shared.jobs.records import JobStatus
from shared.jobs.store import open_job_store
from shared.settings import Settings
from tests.integration.conformal.conftest import (
    CALIBRATIONS,
    CLASSES,
    perception,
    picture,
    pointers,
    release_classifier,
)
from tests.integration.jobs.conftest import kill_group
from tests.support.archives import zipped
from tests.support.capability import npy
from tests.support.workers import start_worker, until_attended

QUEUE = "uncertainty.onnx"
PICTURES = [picture(seed) for seed in range(150)]


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[None]:
    """A worker process with these settings."""
    worker = start_worker(settings, QUEUE)
    try:
        async with open_job_store(settings) as jobs:
            await until_attended(jobs, QUEUE, worker)
        yield
    finally:
        kill_group(worker)


async def true_labels(settings: Settings) -> list[int]:
    """What the classifier says of the pictures, every fourth time its second guess."""
    found: list[np.ndarray[Any, Any]] = []
    async with fleet_client(settings) as fleet:
        for start in range(0, len(PICTURES), 64):
            answered = await classified(fleet, PICTURES[start : start + 64], model="traffic-signs")
            found.append(answered.probabilities)
    order = np.argsort(-np.concatenate(found), axis=1)
    labels: list[int] = np.where(np.arange(len(PICTURES)) % 4 == 0, order[:, 1], order[:, 0]).tolist()
    return labels


def quoted(labels: list[str]) -> bytes:
    """A CSV of one column, as pandas writes texts with commas."""
    return "".join(f'"{label}"\n' for label in labels).encode()


def packed(labels: Sequence[int | str]) -> bytes:
    """A ZIP with a folder for each label."""
    numbered = enumerate(zip(labels, PICTURES, strict=True))
    return zipped({f"{label}/{index}.png": data for index, (label, data) in numbered})


async def test_a_model_is_calibrated_and_predicts(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    sha256 = release_classifier(tmp_path / "models", seed=1)
    async with perception(settings, tmp_path / "models"), working(settings):
        labels = await true_labels(settings)
        form = {"model": "traffic-signs", "score": "aps", "alpha": "0.2"}
        files: list[Any] = [("file", ("p", data)) for data in PICTURES]
        begun = await client.post(CALIBRATIONS, files=[*files, ("labels", npy(np.array(labels)))], data=form)
        assert begun.status_code == 202, begun.text
        waited = await client.post(
            CALIBRATIONS, files={"file": packed(labels)}, data=form, headers={"Prefer": "wait=60"}
        )
        assert waited.status_code == 200, waited.text
        async with open_job_store(settings) as jobs:
            record = await jobs.wait(begun.json()["id"], seconds=60)
        assert record.status is JobStatus.SUCCEEDED, record.problem
        assert record.result is not None
        route = record.result["calibration"]["href"]
        found = (await client.get(route)).json()
        assert (found["n"], found["classes"], found["inputs"]) == (150, 43, "probabilities")
        assert found["model"]["weights_sha256"] == sha256
        assert found["version"] == record.result["calibration"]["version"]
        # The ZIP orders its entries by folder, so the draws differ; the scores without draws would not.
        zipped = (await client.get(waited.json()["result"]["calibration"]["href"])).json()
        assert zipped["n"] == 150
        assert found["class_labels"] == zipped["class_labels"] == list(SIGNS)
        answer = await client.post(f"{route}/predictions", files=[("file", ("p", data)) for data in PICTURES[:60]])
        assert answer.status_code == 200, answer.text
        held = [label in item["sets"][0]["labels"] for label, item in zip(labels, answer.json()["items"], strict=False)]
        assert np.mean(held) > 0.6
        for item in answer.json()["items"]:
            [one] = item["sets"]
            assert one["names"] == [SIGNS[label] for label in one["labels"]]


async def test_names_of_classes(settings: Settings, client: httpx.AsyncClient, tmp_path: Path) -> None:
    """Labels by the classifier's names, and by those that are posted; folders of a ZIP, too."""
    release_classifier(tmp_path / "models", seed=1)
    own = [f"sign {index}" for index in range(CLASSES)]
    async with perception(settings, tmp_path / "models"), working(settings):
        labels = await true_labels(settings)
        form = {"model": "traffic-signs", "method": "class", "seed": "3", "labels": ",".join(map(str, labels))}
        made = {}
        for way, files, data in (
            ("numbers", [("file", ("p", one)) for one in PICTURES], form),
            ("names", [("file", ("p", one)) for one in PICTURES],
             {**form, "labels": "\n".join(SIGNS[label] for label in labels)}),
            ("posted names", [("file", ("p", one)) for one in PICTURES],
             {**form, "labels": ",".join(own[label] for label in labels), "class_names": ",".join(own)}),
            ("folders", [("file", packed([own[label] for label in labels]))],
             {**{name: value for name, value in form.items() if name != "labels"}, "class_names": ",".join(own)}),
        ):  # fmt: skip
            if way == "names":  # some have commas, so that they come in a file
                data, files = {**form}, [*files, ("labels", ("l.csv", quoted([SIGNS[label] for label in labels])))]
                del data["labels"]
            answer = await client.post(CALIBRATIONS, files=files, data=data, headers={"Prefer": "wait=60"})
            assert answer.json()["status"] == "succeeded", answer.text
            made[way] = (await client.get(answer.json()["result"]["calibration"]["href"])).json()
        assert made["names"]["class_labels"] == made["numbers"]["class_labels"] == list(SIGNS)
        assert made["names"]["cells"] == made["numbers"]["cells"]
        assert made["posted names"]["class_labels"] == made["folders"]["class_labels"] == own
        assert made["folders"]["cells"] == made["posted names"]["cells"]
        thresholds = [[cell["thresholds"] for cell in made[way]["cells"]] for way in ("numbers", "posted names")]
        assert thresholds[0] == thresholds[1]
        assert [cell["cell"] for cell in made["posted names"]["cells"]] == [f"class {name}" for name in own]
        assert made["numbers"]["cells"][14]["cell"] == f"class {SIGNS[14]}"


async def test_what_the_job_would_fail_on_is_refused_at_once(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    release_classifier(tmp_path / "models", seed=1)
    files: list[Any] = [("file", ("p", data)) for data in PICTURES[:2]]
    async with perception(settings, tmp_path / "models"):
        for form, pointer in (
            ({"labels": "0,99"}, "/body/labels"),
            ({"labels": "1,x"}, "/body/labels"),
            ({"labels": "a,b", "class_names": "a,b"}, "/body/class_names"),
            ({"labels": "0,1", "model": "nobody"}, "/body/model"),
            ({"labels": "0,1", "model_name": "mine"}, "/body/model"),
        ):
            answer = await client.post(CALIBRATIONS, files=files, data={"model": "traffic-signs", **form})
            assert (answer.status_code, pointers(answer)) == (422, [pointer]), answer.text
        broken = [("file", ("p", b"\x89PNG\r\n\x1a\n and no more")), *files]
        answer = await client.post(CALIBRATIONS, files=broken, data={"model": "traffic-signs", "labels": "0,1,2"})
        assert (answer.status_code, pointers(answer)) == (422, ["/body/file/0"]), answer.text
    # A classifier that is away is waited for by the job; names of classes only it can tell.
    away = {"model": "traffic-signs", "labels": "0,1"}
    async with working(settings):
        assert (await client.post(CALIBRATIONS, files=files, data=away)).status_code == 202
        assert (await client.post(CALIBRATIONS, files=files, data={**away, "labels": "stop,yield"})).status_code == 503


@pytest.mark.parametrize(
    ("files", "form", "pointer"),
    [
        ([], {"labels": "1"}, "/body/file"),
        (PICTURES[:2], {"labels": "1"}, "/body/labels"),
        (PICTURES[:2], {}, "/body/labels"),
        (PICTURES[:1], {"labels": "1", "method": "weighted"}, "/body"),
        (PICTURES[:1], {"labels": "1", "model": "../etc"}, "/body/model"),
    ],
)
async def test_what_is_refused(
    client: httpx.AsyncClient, files: list[bytes], form: dict[str, str], pointer: str
) -> None:
    parts: list[Any] = [("file", ("p", data)) for data in files] or [("nothing", (None, b""))][:0]
    answer = await client.post(CALIBRATIONS, files=parts, data={"model": "traffic-signs", **form})
    assert (answer.status_code, pointers(answer)) == (422, [pointer]), answer.text


async def test_a_file_that_is_no_picture(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        CALIBRATIONS, files={"file": b"%PDF-1.7"}, data={"model": "traffic-signs", "labels": "1"}
    )
    assert (answer.status_code, pointers(answer)) == (415, ["/body/file/0"])
