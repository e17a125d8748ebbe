"""Pictures are shown to the calibrated classifier of the fleet, and a replaced one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.uncertainty.conformal.application.calibration_entry import create_entry
from services.uncertainty.conformal.application.calibration_fit import Items, fit_items
from services.uncertainty.conformal.application.fleet_models import classified, fleet_client
from services.uncertainty.conformal.schemas.calibrations import ClassificationOptions
from services.uncertainty.conformal.settings import ConformalSettings
from services.uncertainty.conformal.storage.record_stores import open_calibrations
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
    release_classifier,
)

PICTURES = [picture(seed) for seed in range(60)]


def as_files(pictures: list[bytes]) -> Any:
    return [("file", ("a.png", data)) for data in pictures]


async def calibrate_fleet_model(settings: Settings) -> str:
    """A calibration of what the classifier says of pictures, labelled with its second guesses now and then."""
    async with fleet_client(settings) as fleet:
        answered = await classified(fleet, PICTURES, model="traffic-signs")
    order = np.argsort(-answered.probabilities, axis=1)
    labels = np.where(np.arange(60) % 4 == 0, order[:, 1], order[:, 0])
    options = ClassificationOptions(score="thr")
    fitted = fit_items(Items(name="probabilities", inputs=answered.probabilities, labels=labels), options)
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
