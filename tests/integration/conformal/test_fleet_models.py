"""Pictures are shown to the calibrated classifier of the fleet, and a replaced one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.uncertainty.conformal.application.calibration_entry import create_entry
from services.uncertainty.conformal.application.calibration_fit import fit_items
from services.uncertainty.conformal.application.classification_items import Items
from services.uncertainty.conformal.application.fleet_models import class_names, classified, fleet_client
from services.uncertainty.conformal.schemas.calibrations import ClassificationOptions
from services.uncertainty.conformal.settings import ConformalSettings
from services.uncertainty.conformal.storage.record_stores import open_calibrations
from shared.datasets.traffic_sign_names import SIGNS
from shared.jobs.connection import api_client
from shared.jobs.identifiers import new_job_id
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.integration.conformal.conftest import (
    CALIBRATIONS,
    CLASSES,
    calibrated,
    logits,
    perception,
    picture,
    pointers,
    release_classifier,
)
from tests.support.archives import zipped

PICTURES = [picture(seed) for seed in range(60)]


def as_files(pictures: list[bytes]) -> Any:
    return [("file", ("a.png", data)) for data in pictures]


async def calibrate_fleet_model(settings: Settings) -> str:
    """A calibration of what the classifier says of pictures, labelled with its second guesses now and then."""
    async with fleet_client(settings) as fleet:
        answered = await classified(fleet, PICTURES, model="traffic-signs")
        called = await class_names(fleet, PICTURES[0], model="traffic-signs", classes=CLASSES)
    order = np.argsort(-answered.probabilities, axis=1)
    labels = np.where(np.arange(60) % 4 == 0, order[:, 1], order[:, 0])
    options = ClassificationOptions(score="thr")
    items = Items(name="probabilities", inputs=answered.probabilities, labels=labels, called=called)
    fitted = fit_items(items, options)
    entry = create_entry(
        fitted, options, blobs=BlobStore(settings.blob_url), identifier=new_job_id(), owner="anonymous",
        model=answered.model,
    )  # fmt: skip
    redis = api_client(settings.redis_url)
    await open_calibrations(redis, ConformalSettings()).add(entry.answer.id, entry.to_json(), owner="anonymous")
    await redis.aclose()
    return entry.answer.id


async def test_a_set_for_a_picture_until_the_model_is_replaced(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    first, second = (release_classifier(tmp_path / name, seed=seed) for name, seed in (("first", 1), ("second", 2)))
    async with perception(settings, tmp_path / "first"):
        route = f"{CALIBRATIONS}/{await calibrate_fleet_model(settings)}/predictions"
        answer = await client.post(route, files=as_files(PICTURES[:3]), data={"p_values": "true", "alpha": "0.2"})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["model"] == {
            "name": "traffic-signs", "version": "1.0.0", "weights_sha256": first, "served_by": "perception"
        }  # fmt: skip
        async with fleet_client(settings) as fleet:
            probabilities = (await classified(fleet, PICTURES[:3], model="traffic-signs")).probabilities
        posted = await client.post(
            route, json={"probabilities": probabilities.tolist(), "p_values": True, "alpha": [0.2]}
        )
        assert posted.json()["items"] == body["items"]
        assert 0 < body["items"][0]["sets"][0]["size"] < CLASSES
        for item in body["items"]:
            [one] = item["sets"]
            assert one["names"] == [SIGNS[label] for label in one["labels"]]
        file = await client.post(route, files=as_files(PICTURES[:1]), headers={"Accept": "application/x-npy"})
        assert first in file.headers["Facet-Model"]
        unreadable = await client.post(route, files=as_files([b"no picture"]))
        assert unreadable.status_code == 415
        assert unreadable.json()["errors"][0]["pointer"] == "/body/file/0"
        assert (await client.post(route, files=as_files(PICTURES[:1] * 65))).status_code == 422
    gone = await client.post(route, files=as_files(PICTURES[:1]))
    assert gone.status_code == 503
    assert int(gone.headers["Retry-After"]) >= 1
    async with perception(settings, tmp_path / "second"):
        refused = await client.post(route, files=as_files(PICTURES[:1]))
        assert refused.status_code == 409
        for said in (first, second, "Calibrate the present model"):
            assert said in refused.json()["detail"]
        stated = await client.post(route, json={"probabilities": probabilities.tolist(), "model_sha256": second})
        assert stated.status_code == 409


async def test_pictures_are_evaluated_as_their_probabilities_are(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    """More than one question to the model, labels as numbers, as names of the classes, and as folders of a ZIP."""
    release_classifier(tmp_path / "models", seed=1)
    pictures = [picture(seed) for seed in range(100)]
    async with perception(settings, tmp_path / "models"), fleet_client(settings) as fleet:
        route = f"{CALIBRATIONS}/{await calibrate_fleet_model(settings)}/evaluations"
        parts = [
            (await classified(fleet, pictures[start : start + 64], model="traffic-signs")).probabilities
            for start in (0, 64)
        ]
        probabilities = np.concatenate(parts)
        names = await class_names(fleet, pictures[0], model="traffic-signs", classes=CLASSES)
        assert names is not None
        plain = np.array(["/" not in name for name in names])  # no folder has a slash in its name
        labels = np.where(plain, probabilities, -1).argmax(axis=1)
        expected = await client.post(
            route, json={"probabilities": probabilities.tolist(), "labels": labels.tolist(), "alpha": 0.2}
        )
        assert expected.status_code == 200, expected.text
        numbered = enumerate(zip(labels.tolist(), pictures, strict=True))
        archive = zipped({f"{names[label]}/{index:03d}.png": data for index, (label, data) in numbered})
        by_number = await client.post(
            route, files=as_files(pictures), data={"labels": ",".join(map(str, labels)), "alpha": "0.2"}
        )
        assert by_number.status_code == 200, by_number.text
        by_folder = await client.post(route, files={"file": archive}, data={"alpha": "0.2"})
        for answer in (by_number, by_folder):
            assert answer.json()["coverage"] == expected.json()["coverage"]
            assert answer.json()["classification"]["by_class"] == expected.json()["classification"]["by_class"]
        assert {one["name"] for one in by_folder.json()["classification"]["by_class"]} == {
            f"class {name}" for name in names
        }
        for files, form, status, pointer in (
            (as_files(pictures[:2]), {"labels": "1"}, 422, "/body/labels"),
            (as_files(pictures[:1]), {"labels": "99"}, 422, "/body/labels"),
            (as_files(pictures[:1]), {"labels": "no such sign"}, 422, "/body/labels"),
            (as_files(pictures[:1]), {}, 422, "/body/labels"),
            (as_files([*pictures[:70], b"no picture"]), {"labels": ",".join("1" * 71)}, 415, "/body/file/70"),
        ):
            answer = await client.post(route, files=files, data=form)
            assert (answer.status_code, pointers(answer)) == (status, [pointer]), answer.text


async def test_the_fleet_token_and_the_caller_are_passed_on(settings: Settings, tmp_path: Path) -> None:
    release_classifier(tmp_path / "models", seed=1)
    guarded = Settings(
        _env_file=None, redis_url=settings.redis_url, blob_url=settings.blob_url,
        perception_url=settings.perception_url, fleet_token="a secret of the fleet",
    )  # fmt: skip
    async with perception(guarded, tmp_path / "models"):
        async with fleet_client(guarded) as fleet:
            assert (await classified(fleet, PICTURES[:1], model="traffic-signs")).probabilities.shape == (1, CLASSES)
        async with fleet_client(settings) as fleet:
            with pytest.raises(Exception, match="refused the question"):
                await classified(fleet, PICTURES[:1], model="traffic-signs")


async def test_posted_values_have_no_model_to_ask(client: httpx.AsyncClient) -> None:
    values, labels = logits(20)
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), model_name="traffic-signs")
    answer = await client.post(f"{CALIBRATIONS}/{body['id']}/predictions", files=as_files(PICTURES[:1]))
    assert answer.status_code == 409
