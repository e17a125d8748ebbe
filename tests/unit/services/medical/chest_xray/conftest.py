"""The medical service with a hand-made model of chest films, and films as DICOM files."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from services.medical.app import create_app
from services.medical.chest_xray.demo import chest_film, chest_film_lowest_white, chest_picture
from services.medical.chest_xray.film_reading import read_film
from services.medical.chest_xray.schemas import DiagnosisAnswer
from shared.imaging.pictures import encode_png
from tests.support.capability import running_capability
from tests.support.chest_xray_models import HALVES_TO_LOGITS, LOGITS_BIAS, SIZE, SYMMETRY, release_chest_model

ROUTE = "/v1/medical/chest-xray/diagnoses"
PIXEL_LIMIT = 4 * 1024 * 1024
SECRET = "Secret^Patient"

FILM = chest_film()
FILM_LOWEST_WHITE = chest_film_lowest_white()
PICTURE = chest_picture()


def film_dataset(stored: NDArray[Any] | None = None, **elements: Any) -> Dataset:
    """The data set of a drawn film, with pixels and elements of a test in place of its own; None deletes one."""
    dataset = pydicom.dcmread(io.BytesIO(FILM))
    if stored is not None:
        bits = stored.dtype.itemsize * 8
        dataset.Rows, dataset.Columns = stored.shape
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
        dataset.PixelRepresentation = int(stored.dtype.kind == "i")
        dataset.PixelData = stored.tobytes()
        for keyword in ("PixelPaddingValue", "WindowCenter", "WindowWidth"):
            del dataset[keyword]
    for keyword, value in elements.items():
        if keyword in dataset:
            del dataset[keyword]
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def as_file(dataset: Dataset) -> bytes:
    """A data set as a DICOM file."""
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def ramp(rows: int = 96, columns: int = 80, *, dtype: str = "u2", low: int = 0, high: int = 4095) -> NDArray[Any]:
    """Stored values that take every level between two, without symmetry."""
    values = np.linspace(low, high, rows * columns).reshape(rows, columns)
    return np.rint(values).astype(dtype)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """The service, whose model is symmetric_model; no Redis."""
    folder: Path = tmp_path_factory.mktemp("medical")
    release_chest_model(folder / "models" / "medical", caveats=["For tests only."])
    async with running_capability(create_app, folder, pixel_limit=PIXEL_LIMIT) as started:
        yield started


async def diagnose(
    client: httpx.AsyncClient, *films: bytes, accept: str = "application/json", **form: str
) -> httpx.Response:
    """What the route answers to films."""
    files = [("file", ("film", film)) for film in films]
    return await client.post(ROUTE, files=files, data=form, headers={"accept": accept})


def slope() -> bytes:
    """A picture that is no chest: dark at the left, bright at the right."""
    return encode_png(np.tile(np.linspace(0, 255, 160).astype(np.uint8), (200, 1)))


def expected(data: bytes) -> tuple[NDArray[np.float64], float, float]:
    """Logits, opacity and frontal of symmetric_model, by numpy."""
    film = read_film(data, pixel_limit=PIXEL_LIMIT)
    seen = film.prepare(SIZE).array.astype(np.float64)
    halves = np.array([seen[:, : SIZE[1] // 2].mean(), seen[:, SIZE[1] // 2 :].mean()], np.float64)
    frontal = SYMMETRY[0] - SYMMETRY[1] * np.abs(seen - seen[:, ::-1]).mean()
    return np.asarray(halves @ HALVES_TO_LOGITS + LOGITS_BIAS, np.float64), float(halves.sum()), float(frontal)


async def described(client: httpx.AsyncClient, *films: bytes, **form: str) -> list[dict[str, Any]]:
    answer = await diagnose(client, *films, **form)
    assert answer.status_code == 200, answer.text
    DiagnosisAnswer.model_validate_json(answer.content)
    found: list[dict[str, Any]] = answer.json()["films"]
    return found
