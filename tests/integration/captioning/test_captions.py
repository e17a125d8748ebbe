"""Captions over HTTP: the answers of the captioner, where it looked, and what is said of input that it cannot take."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from services.perception.captioning.schemas import CaptionAnswer
from tests.support.capability import png
from tests.support.captioners import GRID, WORDS, mosaic

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTE = "/v1/perception/captions"
PICTURES = [png(mosaic(seed, height=40 + seed, width=60)) for seed in range(4)]

each_kind = pytest.mark.parametrize("model", ["tiny-lstm", "tiny-transformer"])


async def ask(client: httpx.AsyncClient, *pictures: bytes, **form: Any) -> dict[str, Any]:
    files = [("file", (f"{index}.png", picture)) for index, picture in enumerate(pictures)]
    answer = await client.post(ROUTE, files=files, data={name: str(value) for name, value in form.items()})
    assert answer.status_code == 200, answer.text
    CaptionAnswer.model_validate_json(answer.content, strict=True)
    body: dict[str, Any] = answer.json()
    return body


def texts(answer: dict[str, Any]) -> list[str]:
    return [picture["captions"][0]["text"] for picture in answer["pictures"]]


@each_kind
async def test_a_picture_gets_a_caption_with_what_it_is_worth(client: httpx.AsyncClient, model: str) -> None:
    answer = await ask(client, PICTURES[0], model=model)
    (picture,) = answer["pictures"]
    (caption,) = picture["captions"]
    assert caption["text"].replace("'s", " 's").split() == [one["word"] for one in caption["words"]]
    assert {one["word"] for one in caption["words"]} <= set(WORDS)
    total = sum(one["log_probability"] for one in caption["words"]) + caption["end_log_probability"]
    assert caption["log_probability"] == pytest.approx(total)
    assert answer["length_power"] == 0.7
    assert caption["score"] == pytest.approx(total / (len(caption["words"]) + 1) ** 0.7)
    assert all(one["attention"] is None and one["attention_png"] is None for one in caption["words"])
    assert (answer["model"]["name"], answer["encoder"]["name"]) == (model, f"{model}-encoder")
    assert (picture["width"], picture["height"]) == (60, 40)
    assert "Flickr8k" in answer["caveats"][0]


@each_kind
@pytest.mark.parametrize("beams", [1, 10])
async def test_a_batch_is_captioned_as_its_pictures_are(client: httpx.AsyncClient, model: str, beams: int) -> None:
    together = await ask(client, *PICTURES, model=model, beams=beams, most_words=6)
    alone = [await ask(client, picture, model=model, beams=beams, most_words=6) for picture in PICTURES]
    assert [picture["index"] for picture in together["pictures"]] == [0, 1, 2, 3]
    assert texts(together) == [texts(one)[0] for one in alone]
    assert len(set(texts(together))) > 1


async def test_captions_are_ranked_and_as_long_as_asked(client: httpx.AsyncClient) -> None:
    answer = await ask(client, PICTURES[1], model="tiny-transformer", beams=5, captions=4, most_words=3)
    found = answer["pictures"][0]["captions"]
    assert len({one["text"] for one in found}) == len(found) == 4
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    assert max(len(one["words"]) for one in found) <= 3


@each_kind
async def test_attention_as_numbers_sums_to_one(client: httpx.AsyncClient, model: str) -> None:
    answer = await ask(client, PICTURES[2], model=model, attention="values", beams=2, captions=2)
    assert (answer["grid"]["rows"], answer["grid"]["columns"]) == GRID
    (picture,) = answer["pictures"]
    assert picture["seen"] == {"left": 0, "top": 0, "right": 60, "bottom": 42}
    for caption in picture["captions"]:
        for word in caption["words"]:
            assert np.shape(word["attention"]) == GRID
            assert np.sum(word["attention"]) == pytest.approx(1, abs=1e-4)


async def test_maps_show_the_numbers_where_the_cut_was(client: httpx.AsyncClient) -> None:
    picture = png(mosaic(5, height=80, width=120))
    numbers, maps = [
        (await ask(client, picture, model="tiny-middle", attention=kind))["pictures"][0] for kind in ("values", "png")
    ]
    assert numbers["seen"] == maps["seen"] == {"left": 40, "top": 20, "right": 80, "bottom": 60}
    assert numbers["captions"][0]["text"] == maps["captions"][0]["text"]
    for number, drawn in zip(numbers["captions"][0]["words"], maps["captions"][0]["words"], strict=True):
        with Image.open(io.BytesIO(base64.b64decode(drawn["attention_png"]))) as image:
            assert (image.mode, image.format) == ("L", "PNG")
            shown = np.asarray(image).astype(np.float64)
        assert shown.shape == (maps["map_height"], maps["map_width"]) == (80, 120)
        assert not np.delete(shown, np.s_[20:60], axis=0).any()
        assert not np.delete(shown, np.s_[40:80], axis=1).any()
        centres = shown[25:60:10, 45:80:10]
        assert np.corrcoef(centres.ravel(), np.ravel(number["attention"]))[0, 1] > 0.95


async def test_only_what_was_seen_counts(client: httpx.AsyncClient) -> None:
    pixels = mosaic(5, height=80, width=120)
    around = pixels.copy()
    around[:10], around[:, :30] = 0, 255
    whole, other = [(await ask(client, png(one), model="tiny-middle")) for one in (pixels, around)]
    assert whole["pictures"][0]["captions"] == other["pictures"][0]["captions"]


async def test_the_picture_may_be_the_body(client: httpx.AsyncClient) -> None:
    asked = {"model": "tiny-lstm", "beams": "2"}
    answer = await client.post(ROUTE, params=asked, content=PICTURES[0], headers={"Content-Type": "image/png"})
    assert answer.status_code == 200, answer.text
    assert texts(answer.json()) == texts(await ask(client, PICTURES[0], **asked))
    assert "infer;dur=" in answer.headers["Server-Timing"]


async def test_requests_at_the_same_time_have_their_own_answers(client: httpx.AsyncClient) -> None:
    expected = [texts(await ask(client, picture, model="tiny-lstm")) for picture in PICTURES]
    found = await asyncio.gather(*(ask(client, picture, model="tiny-lstm") for picture in PICTURES * 2))
    assert [texts(one) for one in found] == expected * 2


@pytest.mark.parametrize("pixels", [mosaic(1, height=1, width=1), mosaic(1, height=200, width=9)[:, :, 0]])
async def test_any_shape_and_grey(client: httpx.AsyncClient, pixels: Any) -> None:
    answer = await ask(client, png(pixels), attention="png")
    assert answer["pictures"][0]["captions"][0]["words"]
    assert answer["model"]["name"] == "tiny-lstm"  # the first by name


BAD: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 422),
    "a PDF": (b"%PDF-1.7\n" + bytes(100), 415),
    "cut off": (PICTURES[0][:60], 422),
    "too many pixels": (png(mosaic(0, height=300, width=300)), 413),
}


@pytest.mark.parametrize(("content", "status"), BAD.values(), ids=list(BAD))
async def test_the_bad_one_of_a_batch_is_named(client: httpx.AsyncClient, content: bytes, status: int) -> None:
    answer = await client.post(ROUTE, files=[("file", ("a", PICTURES[0])), ("file", ("b", content))])
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == "/body/file/1"


@pytest.mark.parametrize(
    ("form", "pointer", "said"),
    [
        ({"beams": "0"}, "/body/beams", "1"),
        ({"beams": "11"}, "/body/beams", "10"),
        ({"beams": "many"}, "/body/beams", "integer"),
        ({"captions": "0"}, "/body/captions", "1"),
        ({"captions": "4"}, "/body/captions", "3 beams find at most 3 captions"),
        ({"most_words": "0"}, "/body/most_words", "1"),
        ({"most_words": "61"}, "/body/most_words", "60"),
        ({"attention": "some"}, "/body/attention", "none"),
        ({"attention": "png", "captions": "9", "beams": "9"}, "/body/attention", "attention=values"),
        ({"model": "low-dose-ct"}, "/body/model", "no parameters.captioning"),
        ({"model": "tiny-lstm-encoder"}, "/body/model", "Captioners here: tiny-lstm, tiny-middle, tiny-transformer"),
        ({"nonsense": "1"}, "/body/nonsense", ""),
    ],
)
async def test_wrong_fields(client: httpx.AsyncClient, form: dict[str, str], pointer: str, said: str) -> None:
    answer = await client.post(ROUTE, files={"file": PICTURES[0]}, data=form)
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert said in error["detail"]
    if form.get("model") is None:
        bare = await client.post(ROUTE, params=form, content=PICTURES[0])
        assert bare.json()["errors"][0]["pointer"] == pointer.replace("body", "query")


async def test_unknown_model_too_many_files_and_other_types(client: httpx.AsyncClient) -> None:
    answer = await client.post(ROUTE, files={"file": PICTURES[0]}, data={"model": "nothing"})
    assert answer.status_code == 404
    assert "tiny-lstm 1.0.0" in answer.json()["detail"]
    assert (await client.post(ROUTE, files=[("file", ("a", PICTURES[0]))] * 33)).status_code == 422
    assert (await client.post(ROUTE, data={"beams": "1"})).status_code == 422
    assert (
        await client.post(ROUTE, content=b"a photograph", headers={"Content-Type": "text/plain"})
    ).status_code == 415
    refused = await client.post(ROUTE, files={"file": PICTURES[0]}, headers={"Accept": "image/png"})
    assert refused.status_code == 406


async def test_the_answer_is_documented(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    described = document["paths"][ROUTE]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    schema = {**described, "components": document["components"]}
    for kind in ("none", "values", "png"):
        answer = await ask(client, PICTURES[0], attention=kind)
        assert [error.message for error in Draft202012Validator(schema).iter_errors(answer)] == []


async def test_both_parts_are_listed_and_can_be_asked_by_themselves(client: httpx.AsyncClient) -> None:
    listed = {one["name"]: one for one in (await client.get("/v1/models")).json()["models"]}
    decoder, encoder = listed["tiny-lstm"], listed["tiny-lstm-encoder"]
    assert decoder["parameters"]["captioning"]["encoder_sha256"] == encoder["weights"]["sha256"]
    assert decoder["state"] == encoder["state"] == "ready"
