"""The route of chest X-ray in the real medical service: answers in all formats, and of several films."""

from __future__ import annotations

import io
from typing import Any

import highdicom as hd
import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image

from services.medical.chest_xray.drawing import colours
from services.medical.chest_xray.film_reading import read_film
from services.medical.chest_xray.films import prepare_film
from shared.fleet.classifiers import softmax
from shared.imaging.pictures import encode_png
from tests.support.capability import from_npy
from tests.support.chest_xray_models import (
    GAIN,
    SIZE,
)
from tests.unit.services.medical.chest_xray.conftest import (
    FILM,
    FILM_LOWEST_WHITE,
    PICTURE,
    PIXEL_LIMIT,
    ROUTE,
    described,
    diagnose,
    expected,
)
from tests.unit.services.medical.chest_xray.test_dicom_writing import measurements

pytestmark = pytest.mark.asyncio(loop_scope="module")


def spotted(rows: int, columns: int, row: int, column: int) -> bytes:
    """A grey picture with one bright patch, whose middle the attention of the tests' model peaks at."""
    pixels = np.full((rows, columns), 40, np.uint8)
    high, wide = rows // 14, columns // 14
    pixels[row - high // 2 : row + high // 2 + 1, column - wide // 2 : column + wide // 2 + 1] = 240
    return encode_png(pixels)


@pytest.mark.parametrize("film", [FILM, FILM_LOWEST_WHITE, PICTURE], ids=["MONOCHROME2", "MONOCHROME1", "PNG"])
async def test_the_figures_are_those_of_the_network(client: httpx.AsyncClient, film: bytes) -> None:
    (found,) = await described(client, film)
    logits, opacity, frontal = expected(film)
    assert [*found["probabilities"].values()] == pytest.approx(softmax(logits.astype(np.float32)).tolist(), abs=1e-5)
    assert found["most_probable"] == list(found["probabilities"])[int(logits.argmax())]
    assert found["opacity_probability"] == pytest.approx(1 / (1 + np.exp(-opacity)), abs=1e-5)
    assert found["screening"]["score"] == pytest.approx(frontal, abs=1e-3)
    assert found["screening"]["passed"] is True
    assert found["screening"]["false_refusal_rate"] == 0.025


async def test_both_polarities_are_answered_alike(client: httpx.AsyncClient) -> None:
    one, other = [(await described(client, film))[0] for film in (FILM, FILM_LOWEST_WHITE)]
    assert one["probabilities"] == pytest.approx(other["probabilities"], abs=2e-3)
    assert one["attention"]["peak"]["row"] == pytest.approx(other["attention"]["peak"]["row"], abs=8)


async def test_what_every_answer_says(client: httpx.AsyncClient) -> None:
    answer = (await diagnose(client, FILM)).json()
    assert answer["disclaimer"] == "Research use only, not a medical device."
    assert answer["films"][0]["attention"]["notice"] == "Predicted attention, not measured gaze."
    assert "For tests only." in answer["caveats"]
    assert answer["model"]["name"] == "chest-xray-attention"
    assert answer["films"][0]["view"] == "PA"


@pytest.mark.parametrize("shape", [(400, 300), (300, 400), (203, 671), (151, 97)])
async def test_the_attention_is_in_the_films_own_grid(client: httpx.AsyncClient, shape: tuple[int, int]) -> None:
    rows, columns = shape
    row, column = rows // 4, 3 * columns // 4
    (found,) = await described(client, spotted(rows, columns, row, column), screen="false")
    peak, region = found["attention"]["peak"], found["attention"]["region"]
    step = max(rows / 80, columns / 64)
    assert (peak["row"], peak["column"]) == pytest.approx((row, column), abs=rows / 28 + columns / 28 + step)
    left, top, right, bottom = region["box"]
    assert left <= column <= right
    assert top <= row <= bottom
    assert region["share"] >= 0.5
    assert (found["rows"], found["columns"]) == shape
    assert found["attention"]["right"] > 0.6
    assert found["attention"]["upper"] > 0.6


async def test_a_mirrored_film_is_answered_with_the_mirrored_map(client: httpx.AsyncClient) -> None:
    film = spotted(400, 300, 90, 220)
    pixels = np.asarray(Image.open(io.BytesIO(film)))
    maps = [
        from_npy((await diagnose(client, each, accept="application/x-npy", screen="false")).content)
        for each in (film, encode_png(pixels[:, ::-1].copy()))
    ]
    assert np.abs(maps[0] - maps[1][:, ::-1]).max() < 1e-3 * maps[0].max()
    assert maps[0][90, 220] > 10 * maps[0][90, 79]


async def test_all_formats_hold_the_same_numbers(client: httpx.AsyncClient) -> None:
    (found,) = await described(client, FILM)
    density = from_npy((await diagnose(client, FILM, accept="application/x-npy")).content)
    assert density.dtype == np.float32
    assert density.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    peak = found["attention"]["peak"]
    assert np.unravel_index(int(density.argmax()), density.shape) == (peak["row"], peak["column"])
    assert peak["relative_density"] == pytest.approx(float(density.max()) * density.size, rel=1e-4)

    seen = prepare_film(*_shown(FILM)).array
    shares = np.exp(GAIN * seen.astype(np.float64))
    coarse = density.reshape(SIZE[0], 8, SIZE[1], 8).sum(axis=(1, 3))
    assert np.abs(coarse - shares / shares.sum()).sum() < 0.3, "interpolated, but the same hills"

    made = pydicom.dcmread(io.BytesIO((await diagnose(client, FILM, accept="application/dicom")).content))
    stored = np.frombuffer(made.FloatPixelData, "<f4").reshape(made.Rows, made.Columns)
    assert np.allclose(stored, density * density.size, rtol=1e-6)

    segmented = await diagnose(client, FILM, accept="application/dicom", dicom="segmentation")
    mask = np.squeeze(hd.seg.segread(io.BytesIO(segmented.content)).pixel_array).astype(bool)
    assert float(density[mask].sum(dtype=np.float64)) == pytest.approx(found["attention"]["region"]["share"], abs=1e-4)
    assert mask.mean() == pytest.approx(found["attention"]["region"]["area"], abs=1e-5)

    reported = await diagnose(client, FILM, accept="application/dicom", dicom="report")
    values = measurements(reported.content)
    for name, probability in found["probabilities"].items():
        assert values[name] == pytest.approx(probability, abs=1e-6)
    assert values["opacity"] == pytest.approx(found["opacity_probability"], abs=1e-6)
    assert values["screening"] == pytest.approx(found["screening"]["probability"], abs=1e-6)

    drawn = np.asarray(Image.open(io.BytesIO((await diagnose(client, FILM, accept="image/png")).content)))
    plain = await diagnose(client, FILM, accept="image/png", overlay="none")
    film = np.asarray(Image.open(io.BytesIO(plain.content)))
    assert film.shape == (640, 512, 3)
    level = (density / density.max()).astype(np.float64)
    weight = 0.75 * level[..., None]
    wanted = film * (1 - weight) + colours()[np.rint(level * 255).astype(int)] * weight
    assert np.abs(drawn[:, :512] - wanted).max() <= 1.01


def _shown(data: bytes) -> tuple[Any, ...]:
    film = read_film(data, pixel_limit=PIXEL_LIMIT)
    return film.pixels, SIZE


async def test_evidence_is_drawn_of_the_class_that_was_asked_for(client: httpx.AsyncClient) -> None:
    pictures = {}
    for name in ("normal", "chf_like", "pneumonia"):
        answer = await diagnose(client, FILM, accept="image/png", overlay="evidence", evidence_class=name)
        assert answer.status_code == 200, answer.text
        pictures[name] = answer.content
    assert len(set(pictures.values())) == 3
    (found,) = await described(client, FILM)
    default = await diagnose(client, FILM, accept="image/png", overlay="evidence")
    assert default.content == pictures[found["most_probable"]]


async def test_the_share_of_the_region_is_the_callers(client: httpx.AsyncClient) -> None:
    areas = [
        (await described(client, FILM, region_share=share))[0]["attention"]["region"]["area"]
        for share in ("0.2", "0.5", "0.9")
    ]
    assert areas == sorted(areas)
    assert areas[0] < areas[2] / 3


async def test_several_films_are_answered_as_one_by_one(client: httpx.AsyncClient) -> None:
    films = [FILM, PICTURE, spotted(300, 200, 80, 120), FILM_LOWEST_WHITE, spotted(128, 300, 40, 200), PICTURE]
    together = await described(client, *films, screen="false")
    assert [one["index"] for one in together] == list(range(len(films)))
    for film, found in zip(films, together, strict=True):
        (alone,) = await described(client, film, screen="false")
        assert found.pop("index") >= 0
        assert alone.pop("index") == 0
        for name in ("logits", "probabilities", "screening"):
            assert found.pop(name) == pytest.approx(alone.pop(name), abs=2e-6)
        assert found.pop("opacity_probability") == pytest.approx(alone.pop("opacity_probability"), abs=2e-6)
        for one in (found, alone):
            one["attention"].pop("region")
        assert found.pop("attention")["peak"] == pytest.approx(alone.pop("attention")["peak"], abs=1e-3)
        assert found == alone


async def test_a_file_alone_is_taken_as_the_body(client: httpx.AsyncClient) -> None:
    for data, kind in ((FILM, "application/dicom"), (PICTURE, "image/png"), (FILM, "application/octet-stream")):
        answer = await client.post(ROUTE, content=data, headers={"content-type": kind}, params={"region_share": "0.8"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["films"][0]["attention"]["region"]["share"] >= 0.8


@pytest.mark.parametrize("accept", ["image/png", "application/x-npy", "application/dicom"])
async def test_files_name_model_and_notice(client: httpx.AsyncClient, accept: str) -> None:
    answer = await diagnose(client, FILM, accept=accept)
    assert answer.headers["content-type"] == accept
    assert "chest-xray-attention" in answer.headers["facet-model"]
    assert "not a medical device" in answer.headers["facet-notice"]
    assert "not measured gaze" in answer.headers["facet-notice"]
