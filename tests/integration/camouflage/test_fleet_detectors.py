"""Detectors of a real perception service, by HTTP and by their files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
import redis.asyncio

from services.perception.app import create_app
from services.security.camouflage.detection.detectors import FleetDetector, Found, ModelDetector, find_model
from shared.fleet.budget import BudgetExhausted, QueryBudget
from shared.fleet.client import BlockingFleetClient
from shared.problems import UnprocessableContent
from shared.settings import Settings
from tests.integration.conftest import free_port
from tests.support.detection import bright_picture
from tests.support.detector_models import bright_detector, release_detector
from tests.support.serving import serving_on

CLASSES = ["cat", "car", "truck", "motorcycle"]
BOXES = [(8, 16, 40, 48), (64, 32, 96, 64), (0, 0, 96, 20)]
PICTURES = [bright_picture(96, 96, BOXES[place % 3]) for place in range(20)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def settings(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    folder, port = tmp_path_factory.mktemp("camouflage"), free_port()
    release_detector(
        folder / "models" / "perception",
        bright_detector([0.9, 0.3, 0.8, 0.7]),
        name="bright",
        classes=CLASSES,
        short_side=96,
        long_side=96,
    )
    url = f"{redis_server}/12"
    async with redis.asyncio.from_url(url) as store:
        await store.flushdb()
    settings = Settings(
        _env_file=None,
        redis_url=url,
        blob_url=str(folder / "blobs"),
        models=folder / "models",
        perception_url=f"http://127.0.0.1:{port}",
        inference_threads=1,
    )
    async with serving_on(create_app(settings), port):
        yield settings


@pytest.mark.asyncio(loop_scope="module")
async def test_vehicles_are_found_over_http_and_counted(settings: Settings) -> None:
    def ask() -> list[Found]:
        budget = QueryBudget(len(PICTURES) + 1)
        with BlockingFleetClient(settings, "perception", budget=budget) as client:
            detector = FleetDetector(client, "bright")
            assert detector.name == "bright"
            found = detector.find(PICTURES)
            assert budget.left == 1
            assert detector.name == "bright 1.0.0"
            with pytest.raises(BudgetExhausted):
                detector.find(PICTURES[:2])
            return found

    for place, one in enumerate(await asyncio.to_thread(ask)):
        # Found as a car and as a truck: one vehicle, as sure as the surer. A motorcycle is none, nor is a cat.
        np.testing.assert_allclose(one.scores, [0.8], atol=1e-6)
        np.testing.assert_allclose(one.boxes, [BOXES[place % 3]], atol=0.01)


@pytest.mark.asyncio(loop_scope="module")
async def test_their_files_answer_the_same(settings: Settings) -> None:
    card, weights = await asyncio.to_thread(find_model, settings, "bright", pointer="/body/victim")
    found = ModelDetector(card, weights, threads=1, pointer="/body/victim").find(PICTURES[:3])
    for box, one in zip(BOXES, found, strict=True):
        np.testing.assert_allclose(one.scores, [0.8], atol=1e-6)
        np.testing.assert_allclose(one.boxes, [box], atol=0.01)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_model_that_is_not_there_is_the_fault_of_its_field(settings: Settings) -> None:
    with pytest.raises(UnprocessableContent, match="There is no model nobody") as refused:
        await asyncio.to_thread(find_model, settings, "nobody", pointer="/body/victim")
    assert refused.value.errors[0].pointer == "/body/victim"
