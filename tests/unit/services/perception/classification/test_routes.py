"""Classification over HTTP: the answer computed by hand, and what is said of input that cannot be classified."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.datasets.traffic_sign_names import SIGNS
from tests.support.capability import png
from tests.unit.services.perception.classification.conftest import OWN_PARAMETERS, TEMPERATURE, WEIGHT, plain

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTE = "/v1/perception/classifications"


def probabilities(*colour: int) -> NDArray[np.float64]:
    exponents: NDArray[np.float64] = np.exp(WEIGHT @ (np.array(colour) / 255) / TEMPERATURE)
    chances: NDArray[np.float64] = exponents / exponents.sum()
    return chances


async def test_most_probable_first(client: httpx.AsyncClient) -> None:
    answer = await client.post(ROUTE, files={"file": plain(250, 30, 20)}, data={"top": "3"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    expected = probabilities(250, 30, 20)
    order = np.argsort(-expected)[:3]
    (picture,) = body["classifications"]
    assert [guess["class_id"] for guess in picture["top"]] == order.tolist()
    assert [guess["name"] for guess in picture["top"]] == [SIGNS[label] for label in order]
    np.testing.assert_allclose([guess["probability"] for guess in picture["top"]], expected[order], rtol=1e-5)
    np.testing.assert_allclose(
        [guess["logit"] for guess in picture["top"]], (WEIGHT @ [250, 30, 20])[order] / 255, rtol=1e-5
    )
    assert body["model"]["name"] == "traffic-signs"
    assert body["temperature"] == TEMPERATURE
    assert "infer;dur=" in answer.headers["Server-Timing"]


async def test_a_batch_keeps_its_order(client: httpx.AsyncClient) -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    files = [("file", (f"{index}.png", plain(*colour))) for index, colour in enumerate(colours)]
    answer = await client.post(ROUTE, files=files, headers={"Accept": "application/x-npy"})
    assert answer.headers["Content-Type"] == "application/x-npy"
    assert answer.headers["Facet-Model"].startswith("traffic-signs;")
    found = np.load(io.BytesIO(answer.content))
    np.testing.assert_allclose(found, [probabilities(*colour) for colour in colours], rtol=1e-5)
    named = (await client.post(ROUTE, files=files, data={"top": "1"})).json()["classifications"]
    assert [row["index"] for row in named] == [0, 1, 2]
    assert [row["top"][0]["class_id"] for row in named] == found.argmax(1).tolist()


@pytest.mark.parametrize(("height", "width"), [(15, 17), (1, 1), (200, 40), (32, 33)])
async def test_any_size(client: httpx.AsyncClient, height: int, width: int) -> None:
    answer = await client.post(
        ROUTE, files={"file": plain(10, 200, 90, height=height, width=width)}, headers={"Accept": "application/x-npy"}
    )
    np.testing.assert_allclose(np.load(io.BytesIO(answer.content))[0], probabilities(10, 200, 90), rtol=1e-4)


async def test_grey_is_a_colour(client: httpx.AsyncClient) -> None:
    grey = png(np.full((20, 20), 100, dtype=np.uint8))
    answer = await client.post(ROUTE, files={"file": grey}, headers={"Accept": "application/x-npy"})
    np.testing.assert_allclose(np.load(io.BytesIO(answer.content))[0], probabilities(100, 100, 100), rtol=1e-4)


BAD: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 422, "/body/file/0"),
    "a PDF": (b"%PDF-1.7\n" + bytes(100), 415, "/body/file/0"),
    "cut off": (plain(1, 2, 3)[:60], 422, "/body/file/0"),
    "too many pixels": (plain(1, 2, 3, height=300, width=300), 413, "/body/file/0"),
}


@pytest.mark.parametrize(("content", "status", "pointer"), BAD.values(), ids=list(BAD))
async def test_what_is_wrong_is_named(client: httpx.AsyncClient, content: bytes, status: int, pointer: str) -> None:
    answer = await client.post(ROUTE, files={"file": content})
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert (await client.post(ROUTE, files={"file": plain(1, 2, 3)})).status_code == 200


async def test_the_bad_one_of_a_batch_is_named(client: httpx.AsyncClient) -> None:
    files = [("file", ("a.png", plain(1, 2, 3))), ("file", ("b.png", b"no picture"))]
    answer = await client.post(ROUTE, files=files)
    assert answer.status_code == 415
    assert answer.json()["errors"][0]["pointer"] == "/body/file/1"


@pytest.mark.parametrize(
    ("form", "status", "pointer"),
    [
        ({"top": "0"}, 422, "/body/top"),
        ({"top": "44"}, 422, "/body/top"),
        ({"top": "many"}, 422, "/body/top"),
        ({"model": "low-dose-ct"}, 422, "/body/model"),
        ({"nonsense": "1"}, 422, "/body/nonsense"),
    ],
)
async def test_wrong_fields(client: httpx.AsyncClient, form: dict[str, str], status: int, pointer: str) -> None:
    answer = await client.post(ROUTE, files={"file": plain(1, 2, 3)}, data=form)
    assert answer.status_code == status
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_unknown_model_and_too_many_files(client: httpx.AsyncClient) -> None:
    answer = await client.post(ROUTE, files={"file": plain(1, 2, 3)}, data={"model": "nothing"})
    assert answer.status_code == 404
    assert "traffic-signs 1.0.0" in answer.json()["detail"]
    files = [("file", ("a.png", plain(1, 2, 3)))] * 65
    assert (await client.post(ROUTE, files=files)).status_code == 422
    assert (await client.post(ROUTE, data={"top": "1"})).status_code == 422


async def test_a_classifier_of_ones_own_is_shown_pictures_as_its_card_says(client: httpx.AsyncClient) -> None:
    answer = await client.post(ROUTE, content=plain(250, 30, 20, height=90, width=70), params={"model": "own-colours"})
    assert answer.status_code == 200, answer.text
    parameters: dict[str, Any] = OWN_PARAMETERS
    colour = (np.array([250, 30, 20]) / 255 - parameters["mean"]) / np.array(parameters["std"])
    logits = WEIGHT[:2] @ colour
    expected = np.exp(logits / parameters["temperature"]) / np.exp(logits / parameters["temperature"]).sum()
    found = {guess["name"]: guess for guess in answer.json()["classifications"][0]["top"]}
    assert set(found) == {"warm", "cold"}, "no more are named than there are"
    np.testing.assert_allclose([found[name]["logit"] for name in ("warm", "cold")], logits, rtol=1e-3)
    np.testing.assert_allclose([found[name]["probability"] for name in ("warm", "cold")], expected, atol=1e-3)
    assert answer.json()["model"]["name"] == "own-colours"
    assert answer.json()["caveats"] == []
    refused = await client.post(ROUTE, content=plain(1, 2, 3), params={"model": "own-colours", "top": "3"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/query/top")


async def test_a_classifier_of_ones_own_sees_the_part_that_its_card_says(client: httpx.AsyncClient) -> None:
    """A grey middle in a red picture: of 120 x 80 pixels, the card wants a square of 40."""
    pixels = np.full((80, 120, 3), (250, 0, 0), np.uint8)
    pixels[16:64, 36:84] = (40, 90, 10)
    for model, colour in (("own-centre", (40, 90, 10)), ("traffic-signs", pixels.mean(axis=(0, 1)))):
        answer = await client.post(ROUTE, content=png(pixels), params={"model": model, "top": "2"})
        assert answer.status_code == 200, answer.text
        found = {guess["class_id"]: guess["logit"] for guess in answer.json()["classifications"][0]["top"]}
        for label, logit in found.items():
            assert logit == pytest.approx(float(WEIGHT[label] @ np.array(colour)) / 255, rel=2e-2, abs=2e-2)


async def test_a_card_that_wants_an_unknown_part_is_no_classifiers(client: httpx.AsyncClient) -> None:
    answer = await client.post(ROUTE, content=plain(1, 2, 3), params={"model": "own-left"})
    assert answer.status_code == 422
    assert "parameters/preprocessing/region" in answer.json()["errors"][0]["detail"]
