"""The uncertainty service on a real Redis, and classifiers small enough to be replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from services.perception.app import create_app as create_perception
from services.uncertainty.app import create_app
from shared.runtime.cards import read_card
from shared.runtime.models.registry import newest_folder
from shared.settings import Settings
from tests.integration.conftest import free_port
from tests.support.capability import png, write_model
from tests.support.serving import running, serving_on

RELEASED = Path(__file__).parents[3] / "services" / "perception" / "models"
CALIBRATIONS = "/v1/uncertainty/calibrations"
CLASSES = 43


def logits(count: int, classes: int = 5, *, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits that know something of their labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    values = random.normal(size=(count, classes))
    values[np.arange(count), labels] += 1.5
    return values, labels


def picture(seed: int) -> bytes:
    """A PNG of one random colour."""
    colour = tuple(int(one) for one in np.random.default_rng(seed).integers(0, 256, 3))
    return png(Image.new("RGB", (32, 32), colour))


def release_classifier(models: Path, *, seed: int) -> str:
    """A classifier of mean colours with random weights, as `traffic-signs`; returns the digest of its weights."""
    random = np.random.default_rng(seed)
    constants = {
        "head": random.normal(0, 6, (CLASSES, 3)).astype(np.float32),
        "bias": random.normal(0, 1, CLASSES).astype(np.float32),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["pictures"], ["a"]),
        helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "head", "bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    card = read_card(newest_folder(RELEASED, "traffic-signs"))
    return write_model(models / "perception", card.model_copy(update={"version": "1.0.0"}), content)


@asynccontextmanager
async def perception(settings: Settings, models: Path) -> AsyncIterator[None]:
    """The perception service with the models of a folder, where the settings look for it."""
    port = int(settings.perception_url.rpartition(":")[2])
    changed = settings.model_copy(update={"models": models})
    async with serving_on(create_perception(changed), port):
        yield


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        redis_url=redis_url,
        blob_url=str(tmp_path / "blobs"),
        perception_url=f"http://127.0.0.1:{free_port()}",
        models=tmp_path / "no-models",
        inference_threads=1,
        worker_heartbeat_s=0.3,
    )


RESOURCES_LIMIT = 20


@pytest.fixture(autouse=True)
def capability_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the capability, from the environment as an operator gives them."""
    monkeypatch.setenv("FACET_CONFORMAL_RESOURCES_LIMIT", str(RESOURCES_LIMIT))


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with running(create_app(settings)) as started:
        yield started


async def calibrated(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """A calibration made of a JSON body."""
    answer = await client.post(CALIBRATIONS, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def pointers(answer: httpx.Response) -> list[str]:
    """The places that a problem blames."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return [one["pointer"] for one in answer.json()["errors"]]
