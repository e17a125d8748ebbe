"""The released classifier of ImageNet's classes, as its service serves it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image

from services.declarations import SERVICES
from services.perception.app import create_app
from shared.datasets.photos import FOLDER, subjects
from shared.runtime.models.registry import newest_folder
from shared.settings import get_settings
from tests.support.capability import png, running_capability

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTE = "/v1/perception/classifications"
NAME = "imagenet-lite0"
RELEASED = newest_folder(SERVICES / "perception" / "models", NAME)
DATA = get_settings().data


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("imagenet")
    shutil.copytree(RELEASED, folder / "models" / "perception" / NAME / RELEASED.name)
    async with running_capability(create_app, folder) as started:
        yield started


def drawn(height: int, width: int) -> Image.Image:
    """A smooth picture, no photograph."""
    coarse = np.random.default_rng(3).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def independent_logits(pictures: list[Image.Image]) -> NDArray[np.float32]:
    """By Pillow and onnxruntime alone: 7/8 of the shorter side, bicubic, 224 x 224."""
    rows = []
    for picture in pictures:
        side = 0.875 * min(picture.size)
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        seen = picture.resize((224, 224), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
        rows.append(np.asarray(seen, np.float32).transpose(2, 0, 1) / 255)
    session = onnxruntime.InferenceSession(RELEASED / "model.onnx", providers=["CPUExecutionProvider"])
    logits: NDArray[np.float32] = session.run(["logits"], {"pictures": np.stack(rows)})[0]
    return logits


async def test_it_is_there_and_takes_no_memory_before_it_is_asked(client: httpx.AsyncClient) -> None:
    card = (await client.get(f"/v1/models/{NAME}")).json()
    assert len(card["parameters"]["classes"]) == 1000
    assert card["runtime"]["on_demand"] is True


async def test_pictures_are_cut_and_scaled_as_its_card_says(client: httpx.AsyncClient) -> None:
    pictures = [drawn(700, 500), drawn(300, 900), drawn(100, 120), drawn(224, 224), drawn(1500, 1500)]
    files = [("file", (f"{index}.png", png(picture))) for index, picture in enumerate(pictures)]
    answer = await client.post(ROUTE, files=files, data={"model": NAME, "top": "1000"})
    assert answer.status_code == 200, answer.text
    right = independent_logits(pictures)
    for row, one in zip(right, answer.json()["classifications"], strict=True):
        found = np.zeros(1000)
        found[[guess["class_id"] for guess in one["top"]]] = [guess["logit"] for guess in one["top"]]
        np.testing.assert_allclose(found, row, atol=1e-3)
    assert "ImageNet" in answer.json()["caveats"][0]


async def test_more_pictures_than_one_run_takes(client: httpx.AsyncClient) -> None:
    files = [("file", (f"{index}.png", png(drawn(100 + index, 120)))) for index in range(9)]
    answer = await client.post(ROUTE, files=files, data={"model": NAME}, headers={"Accept": "application/x-npy"})
    found = np.load(io.BytesIO(answer.content))
    logits = independent_logits([drawn(100 + index, 120) for index in range(9)])
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found, exponents / exponents.sum(axis=1, keepdims=True), atol=1e-4)


@pytest.mark.skipif(not (DATA / FOLDER).is_dir(), reason=f"no photographs in FACET_DATA ({FOLDER})")
async def test_it_names_what_photographs_show(client: httpx.AsyncClient) -> None:
    for path, right in subjects(DATA).items():
        answer = await client.post(ROUTE, content=path.read_bytes(), params={"model": NAME})
        top = [guess["name"] for guess in answer.json()["classifications"][0]["top"]]
        assert set(top) & set(right), f"{path.name}: {top}"


async def test_card_file_and_notice_belong_together() -> None:
    card = json.loads((RELEASED / "card.json").read_text())
    notice = (RELEASED / "NOTICE").read_text()
    assert card["weights"]["bytes"] == (RELEASED / "model.onnx").stat().st_size <= 10 * 2**20
    for holder in ("TensorFlow Authors", "ML Illustrated", "Princeton University", "Illia Volkov"):
        assert holder in notice
    assert Path(card["weights"]["file"]).name == "model.onnx"
