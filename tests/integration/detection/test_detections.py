"""Detections over HTTP: boxes in pixels of the posted picture, thresholds, formats, and what is said of bad input."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import httpx
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from services.perception.detection.capability import PATH
from services.perception.detection.schemas import CocoAnswer, DetectionAnswer
from tests.support.detection import BOXES, Bench, Box, bright_picture, encoded

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = encoded(bright_picture(96, 128, (32, 16, 96, 80)))


async def send(bench: Bench, *pictures: bytes, accept: str = "application/json", **form: Any) -> httpx.Response:
    files = [("file", (f"{index}.png", picture)) for index, picture in enumerate(pictures)]
    data = {name: value if isinstance(value, list) else str(value) for name, value in form.items()}
    return await bench.client.post(PATH, files=files, data=data, headers={"Accept": accept})


async def ask(bench: Bench, *pictures: bytes, **form: Any) -> dict[str, Any]:
    answer = await send(bench, *pictures, **form)
    assert answer.status_code == 200, answer.text
    model = CocoAnswer if form.get("layout") == "coco" else DetectionAnswer
    model.model_validate_json(answer.content, strict="store" not in form)
    body: dict[str, Any] = answer.json()
    return body


def boxes(picture: dict[str, Any]) -> list[list[float]]:
    return [one["box"] for one in picture["detections"]]


OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (96, 128, (32, 16, 96, 80)),  # as it is seen
        (96, 96, (0, 0, 96, 96)),
        (960, 1280, (320, 160, 960, 800)),
        (48, 64, (16, 8, 48, 40)),
        (640, 200, (20, 100, 180, 600)),
        (200, 1000, (500, 20, 900, 180)),
        (33, 47, (5, 3, 40, 30)),
    ],
)
@pytest.mark.parametrize("kind", list(OPTIONS))
async def test_boxes_are_in_pixels_of_the_posted_picture(
    bench: Bench, height: int, width: int, box: Box, kind: str
) -> None:
    answer = await ask(bench, encoded(bright_picture(height, width, box), kind, **OPTIONS[kind]), model="bright")
    (picture,) = answer["pictures"]
    assert (picture["width"], picture["height"], picture["index"]) == (width, height, 0)
    (found,) = picture["detections"]
    assert (found["class_id"], found["class_name"]) == (0, "thing")
    assert found["score"] == pytest.approx(0.9)
    pixel = max(1.0, min(height, width) / 96, max(height, width) / 160)  # of the network, in the posted picture
    assert np.abs(np.subtract(found["box"], box)).max() <= pixel
    if (height, width) == (96, 128):
        assert found["box"] == list(box)
    assert answer["model"]["name"] == "bright"
    assert answer["caveats"] == ["Sees what is bright."]


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_boxes_are_those_of_the_upright_picture(bench: Bench, orientation: int) -> None:
    upright = bright_picture(96, 128, (32, 16, 112, 40))
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    picture = encoded(np.ascontiguousarray(stored), "WEBP", orientation=orientation, lossless=True)
    (found,) = (await ask(bench, picture, model="bright"))["pictures"]
    assert (found["width"], found["height"]) == (128, 96)
    assert boxes(found) == [[32, 16, 112, 40]]


async def test_a_batch_has_the_answers_of_its_pictures(bench: Bench) -> None:
    places = [(0, 0, 20, 20), (32, 16, 96, 80), (100, 50, 128, 96), (60, 60, 61, 61)]
    pictures = [encoded(bright_picture(96, 128, place)) for place in places]
    together = await ask(bench, *pictures, encoded(np.zeros((50, 200, 3), np.uint8)), model="bright")
    assert [picture["index"] for picture in together["pictures"]] == [0, 1, 2, 3, 4]
    assert [boxes(picture) for picture in together["pictures"]] == [[list(place)] for place in places] + [[]]
    alone = await asyncio.gather(*(ask(bench, picture, model="bright") for picture in pictures))
    assert [one["pictures"][0]["detections"] for one in alone] == [
        picture["detections"] for picture in together["pictures"][:4]
    ]


@pytest.mark.parametrize("pixels", [(1, 1), (1, 300), (10, 20000), (3000, 7)])
async def test_any_shape(bench: Bench, pixels: tuple[int, int]) -> None:
    picture = np.full((*pixels, 3), 255, np.uint8)
    (found,) = (await ask(bench, encoded(picture), model="bright"))["pictures"]
    np.testing.assert_allclose(boxes(found), [[0, 0, pixels[1], pixels[0]]], rtol=1e-6)


async def test_grey_and_sixteen_bits(bench: Bench) -> None:
    grey = bright_picture(96, 128, (32, 16, 96, 80))[:, :, 0]
    for pixels in (grey, grey.astype(np.uint16) * 257):
        assert boxes((await ask(bench, encoded(pixels), model="bright"))["pictures"][0]) == [[32, 16, 96, 80]]  # type: ignore[arg-type]


SQUARE = encoded(bright_picture(96, 96, (0, 0, 10, 10)))


@pytest.mark.parametrize("model", ["fixed", "fixed-sides"])
async def test_thresholds_suppression_limit_and_classes(bench: Bench, model: str) -> None:
    async def found(**form: Any) -> list[tuple[str, float]]:
        (picture,) = (await ask(bench, SQUARE, model=model, **form))["pictures"]
        return [(one["class_name"], round(one["score"], 3)) for one in picture["detections"]]

    assert await found() == [("near", 0.9), ("far", 0.7), ("near", 0.5)]
    assert await found(score_threshold=0.5) == [("near", 0.9), ("far", 0.7), ("near", 0.5)]
    assert await found(score_threshold=0.6) == [("near", 0.9), ("far", 0.7)]
    assert await found(score_threshold=1) == []
    assert await found(iou_threshold=1) == [("near", 0.9), ("near", 0.8), ("far", 0.7), ("near", 0.5)]
    assert await found(limit=2) == [("near", 0.9), ("far", 0.7)]
    assert await found(classes="near", limit=2) == [("near", 0.9), ("near", 0.5)]
    assert await found(classes=["near", "far"], score_threshold=0.6) == [("near", 0.9), ("far", 0.7)]
    assert len(await found(score_threshold=0)) == 4
    answer = await ask(bench, SQUARE, model=model, limit=7, iou_threshold=0.25)
    assert answer["selection"] == {"score_threshold": 0.25, "iou_threshold": 0.25, "limit": 7}


async def test_boxes_of_each_class(bench: Bench) -> None:
    (picture,) = (await ask(bench, SQUARE, model="fixed-by-class"))["pictures"]
    assert boxes(picture) == [list(BOXES[0]), [0, 0, 96, 96], list(BOXES[2])]
    assert [one["class_name"] for one in picture["detections"]] == ["near", "far", "near"]


async def test_what_lies_beyond_the_picture_is_cut_off(bench: Bench) -> None:
    (picture,) = (await ask(bench, encoded(np.zeros((40, 96, 3), np.uint8)), model="fixed"))["pictures"]
    assert boxes(picture) == [[8, 16, 40, 40], [8, 16, 40, 40], [64, 32, 96, 40]]
    (picture,) = (await ask(bench, encoded(np.zeros((16, 96, 3), np.uint8)), model="fixed"))["pictures"]
    assert boxes(picture) == []


async def test_a_document_of_coco(bench: Bench) -> None:
    answer = await ask(bench, SQUARE, SQUARE, model="fixed", layout="coco", limit=2)
    assert answer["images"] == [{"id": number, "width": 96, "height": 96} for number in (1, 2)]
    assert answer["categories"] == [{"id": 7, "name": "near"}, {"id": 3, "name": "far"}]
    assert [one["id"] for one in answer["annotations"]] == [1, 2, 3, 4]
    assert [one["image_id"] for one in answer["annotations"]] == [1, 1, 2, 2]
    first, second = answer["annotations"][:2]
    assert (first["bbox"], first["area"], first["category_id"], first["iscrowd"]) == ([8, 16, 32, 32], 1024, 7, 0)
    assert (second["category_id"], second["score"]) == (3, pytest.approx(0.7))
    assert answer["info"]["model"]["name"] == "fixed"
    plain = await ask(bench, PICTURE, model="bright", layout="coco")
    assert plain["categories"] == [{"id": 1, "name": "thing"}]


async def test_a_drawn_picture_is_as_large_as_the_posted_one(bench: Bench) -> None:
    answer = await send(bench, PICTURE, model="bright", accept="image/png")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["facet-model"].startswith('bright;version="1.0.0"')
    drawn = np.asarray(Image.open(io.BytesIO(answer.content)))
    posted = np.asarray(Image.open(io.BytesIO(PICTURE)))
    assert drawn.shape == posted.shape
    changed = (drawn != posted).any(axis=2)
    assert changed[16:80, 32].all()  # the left edge of the box
    assert not changed[90:].any()


async def test_several_drawn_pictures_are_side_by_side(bench: Bench) -> None:
    pictures = [
        PICTURE,
        encoded(bright_picture(1000, 600, (50, 50, 500, 900))),
        encoded(np.zeros((1, 900, 3), np.uint8)),
    ]
    answer = await send(bench, *pictures, *pictures[:2], model="bright", accept="image/png")
    with Image.open(io.BytesIO(answer.content)) as sheet:
        assert sheet.width > 3 * 360
        assert sheet.height > 2 * 360


async def test_the_drawing_is_stored_beside_the_numbers(bench: Bench) -> None:
    answer = await ask(bench, PICTURE, model="bright", store="png")
    direct = await send(bench, PICTURE, model="bright", accept="image/png")
    assert bench.blobs.get(f"sha256:{answer['files']['png']['sha256']}") == direct.content
    refused = await send(bench, PICTURE, model="bright", store="png", accept="image/png")
    assert refused.json()["errors"][0]["pointer"] == "/body/store"


async def test_the_picture_may_be_the_body(bench: Bench) -> None:
    asked = {"model": "bright", "score_threshold": "0.5", "classes": "thing"}
    answer = await bench.client.post(PATH, params=asked, content=PICTURE, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200, answer.text
    assert boxes(answer.json()["pictures"][0]) == [[32, 16, 96, 80]]
    assert "infer;dur=" in answer.headers["Server-Timing"]


async def test_without_a_name_the_first_detector_answers(bench: Bench) -> None:
    assert (await ask(bench, PICTURE))["model"]["name"] == "bright"


BAD: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 422),
    "a PDF": (b"%PDF-1.7\n" + bytes(100), 415),
    "cut off": (PICTURE[:60], 422),
    "cut off later": (PICTURE[:-30], 422),
    "too many pixels": (encoded(np.zeros((1300, 1000, 3), np.uint8)), 413),
}


@pytest.mark.parametrize(("content", "status"), BAD.values(), ids=list(BAD))
async def test_the_bad_one_of_a_batch_is_named(bench: Bench, content: bytes, status: int) -> None:
    answer = await send(bench, PICTURE, content, model="bright")
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == "/body/file/1"


@pytest.mark.parametrize(
    ("form", "pointer", "said"),
    [
        ({"score_threshold": "nan"}, "/body/score_threshold", "finite"),
        ({"score_threshold": "1.01"}, "/body/score_threshold", "1"),
        ({"score_threshold": "-0.1"}, "/body/score_threshold", "0"),
        ({"score_threshold": "much"}, "/body/score_threshold", "number"),
        ({"iou_threshold": "inf"}, "/body/iou_threshold", "finite"),
        ({"limit": "0"}, "/body/limit", "1"),
        ({"limit": "301"}, "/body/limit", "300"),
        ({"classes": "thin"}, "/body/classes/0", "Is 'thing' meant?"),
        ({"classes": "x" * 500}, "/body/classes/0", "It knows thing."),
        ({"layout": "voc"}, "/body/layout", "coco"),
        ({"store": "npy"}, "/body/store", "png"),
        ({"model": "low-dose-ct"}, "/body/model", "no parameters.detection"),
        ({"model": "three-names"}, "/body/model", "names 3 classes"),
        ({"model": "no-sides"}, "/body/model", "parameters/detection/short_side"),
        ({"model": "logits"}, "/body/model", "not between 0 and 1"),
        ({"nonsense": "1"}, "/body/nonsense", ""),
    ],
)
async def test_wrong_fields(bench: Bench, form: dict[str, str], pointer: str, said: str) -> None:
    answer = await send(bench, PICTURE, **form)
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    error = answer.json()["errors"][0]
    assert error["pointer"].startswith(pointer)
    assert said in error["detail"]
    bare = await bench.client.post(PATH, params=form, content=PICTURE)
    assert bare.json()["errors"][0]["pointer"].startswith(pointer.replace("body", "query"))


async def test_unknown_model_too_many_files_and_other_types(bench: Bench) -> None:
    assert (await send(bench, PICTURE, model="nothing")).status_code == 404
    assert (await send(bench, *[PICTURE] * 65, model="bright")).status_code == 422
    assert (await bench.client.post(PATH, data={"limit": "1"})).status_code == 422
    text = await bench.client.post(PATH, content=b"a photograph", headers={"Content-Type": "text/plain"})
    assert text.status_code == 415
    assert (await send(bench, PICTURE, accept="image/webp")).status_code == 406


@pytest.mark.parametrize("layout", ["facet", "coco"])
async def test_the_answer_is_documented(bench: Bench, layout: str) -> None:
    document = (await bench.client.get("/openapi.json")).json()
    described = document["paths"][PATH]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    schema = {**described, "components": document["components"]}
    answer = await ask(bench, PICTURE, model="bright", layout=layout)
    assert [error.message for error in Draft202012Validator(schema).iter_errors(answer)] == []
