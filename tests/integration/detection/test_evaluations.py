"""Evaluations from the post to the files of the result, with a real worker; and what is refused before any work."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from shared.jobs.records import JobStatus
from tests.support.archives import zipped
from tests.support.detection import Bench, bright_picture, encoded

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIDES = {"height": 96, "width": 128}
PLACES = [(32, 16, 96, 80), (0, 0, 40, 40), (100, 50, 128, 96)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attended(bench: Bench) -> AsyncIterator[Bench]:
    with bench.worker():
        await bench.until_attended()
        yield bench


def coco_set(
    boxes: Mapping[str, list[tuple[str, tuple[float, ...]]]], *, names: tuple[str, ...] = ("thing",), **further: bytes
) -> bytes:
    """A COCO set: bright pictures of PLACES in turn, by name, with annotated boxes of classes."""
    numbers = {name: number for number, name in enumerate(names, 5)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    files: dict[str, bytes | str] = {}
    for number, (name, annotated) in enumerate(boxes.items()):
        files[name] = encoded(bright_picture(96, 128, PLACES[number % len(PLACES)]))
        images.append({"id": number, "file_name": name, **SIDES})
        for label, (left, top, right, bottom) in annotated:
            box = [left, top, right - left, bottom - top]
            one = {"id": len(annotations), "image_id": number, "category_id": numbers[label], "bbox": box}
            annotations.append(one | {"area": max(box[2], 0) * max(box[3], 0), "iscrowd": 0})
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    document = {"images": images, "annotations": annotations, "categories": categories}
    return zipped({"set.json": json.dumps(document), **files, **further})


def right_boxes(count: int = 3) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    return {f"{number}.png": [("thing", PLACES[number % len(PLACES)])] for number in range(count)}


async def test_a_perfect_detector_has_full_marks(attended: Bench) -> None:
    result = await attended.result(await attended.post(coco_set(right_boxes()), model="bright"))
    report = attended.report(result)
    assert report["model"]["name"] == "bright"
    assert (report["coco"]["ap"], report["coco"]["ap50"], report["coco"]["ap75"]) == (1, 1, 1)
    assert (report["coco"]["ar_1"], report["coco"]["ar_10"], report["coco"]["ar_100"]) == (1, 1, 1)
    assert (report["coco"]["ap_small"], report["coco"]["ap_medium"], report["coco"]["ap_large"]) == (None, 1, None)
    assert report["voc"] == {"ap50": 1}
    (one,) = report["per_class"]
    assert one == {"name": "thing", "objects": 3, "pictures": 3, "ap": 1, "ap50": 1, "voc_ap50": 1}
    point = {"score_threshold": 0.25, "found": 3, "missed": 0, "false": 0, "precision": 1, "recall": 1}
    assert report["operating_point"] == point
    dataset = report["dataset"]
    assert (dataset["format"], dataset["pictures"], dataset["objects"], dataset["unused_pictures"]) == ("coco", 3, 3, 0)
    assert report["caveats"] == ["Sees what is bright."]
    assert report["selection"] == {"score_threshold": 0.01, "iou_threshold": 0.5, "limit": 100}


async def test_what_is_missed_and_false_is_counted_and_shown(attended: Bench) -> None:
    boxes: dict[str, list[tuple[str, tuple[float, ...]]]] = {
        "right.png": [("thing", PLACES[0])],
        "missed.png": [("thing", PLACES[1]), ("thing", (60, 60, 90, 90)), ("thing", (60, 10, 90, 40))],
        "false.png": [],
    }
    result = await attended.result(await attended.post(coco_set(boxes), model="bright"))
    report = attended.report(result)
    point = report["operating_point"]
    assert (point["found"], point["missed"], point["false"]) == (2, 2, 1)
    assert (point["precision"], point["recall"]) == (pytest.approx(2 / 3), 0.5)
    # Two of four objects are found, and all scores are the same, so that the false answer may come first or last.
    assert 0.3 < report["voc"]["ap50"] <= 0.5
    assert report["coco"]["ar_100"] == 0.5
    shown = report["worst_pictures"]
    assert [(one["name"], one["missed"], one["false"]) for one in shown] == [
        ("missed.png", 2, 0),
        ("false.png", 0, 1),
        ("right.png", 0, 0),
    ]
    with Image.open(io.BytesIO(attended.file(result, "worst-pictures.png"))) as sheet:
        assert sheet.width > 2 * 128
        assert sheet.height > 3 * 96


async def test_detections_are_written_with_the_ids_of_the_set(attended: Bench) -> None:
    result = await attended.result(await attended.post(coco_set(right_boxes()), model="bright"))
    found = json.loads(attended.file(result, "detections.json"))
    assert [one["image_id"] for one in found] == [0, 1, 2]
    assert {one["category_id"] for one in found} == {5}
    left, top, right, bottom = PLACES[0]
    assert found[0]["bbox"] == [left, top, right - left, bottom - top]
    assert found[0]["score"] == pytest.approx(0.9)


async def test_faults_unused_pictures_and_classes_that_are_not_known(attended: Bench) -> None:
    boxes = right_boxes()
    boxes["0.png"] += [("bird", (0, 0, 10, 10)), ("thing", (5, 5, 5, 9)), ("thing", (100, 80, 140, 120))]
    dataset = coco_set(boxes, names=("thing", "bird"), **{"extra.png": encoded(bright_picture(9, 9, (0, 0, 2, 2)))})
    report = attended.report(await attended.result(await attended.post(dataset, model="bright")))
    assert report["classes"] == {"used": {"thing": "thing"}, "unknown": {"bird": 1}, "unknown_share": 0.2}
    assert "does not know" in report["caveats"][1]
    dataset_used = report["dataset"]
    assert (dataset_used["clipped_boxes"], dataset_used["refused_boxes"], dataset_used["unused_pictures"]) == (1, 1, 1)
    assert len(dataset_used["faults"]) == 2
    assert dataset_used["objects"] == 4


async def test_other_names_are_mapped(attended: Bench) -> None:
    boxes = {"0.png": [("car", PLACES[0])], "1.png": [("bus", PLACES[1])]}
    dataset = coco_set(boxes, names=("car", "bus"))  # type: ignore[arg-type]
    mapping = json.dumps({"car": "thing", "bus": "thing"})
    report = attended.report(await attended.result(await attended.post(dataset, model="bright", class_mapping=mapping)))
    assert report["coco"]["ap"] == 1
    assert report["classes"]["used"] == {"car": "thing", "bus": "thing"}
    answer = await attended.send(dataset, model="bright")
    assert answer.status_code == 422
    assert "class_mapping" in answer.json()["detail"]


def voc_file(left: int, top: int, right: int, bottom: int) -> str:
    """Edges as Pascal VOC's own tools write them: the first pixel is 1, and the last one belongs to the box."""
    return (
        "<annotation><filename>a.png</filename><object><name>thing</name><bndbox>"
        f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        "</bndbox></object></annotation>"
    )


async def test_pascal_voc_and_yolo_are_read_too(attended: Bench) -> None:
    picture = encoded(bright_picture(96, 128, PLACES[0]))
    voc = zipped({"a.png": picture, "a.xml": voc_file(*PLACES[0])})
    report = attended.report(await attended.result(await attended.post(voc, model="bright")))
    assert (report["dataset"]["format"], report["coco"]["ap"]) == ("pascal_voc", 1)
    shifted = await attended.result(await attended.post(voc, model="bright", first_pixel="0"))
    assert attended.report(shifted)["coco"]["ap"] == 1  # off by one pixel in 64: an IoU of 0.95 and more
    left, top, right, bottom = PLACES[0]
    shares = f"0 {(left + right) / 256} {(top + bottom) / 192} {(right - left) / 128} {(bottom - top) / 96}"
    yolo = zipped({"images/a.png": picture, "labels/a.txt": shares, "data.yaml": "names: [thing]\n"})
    report = attended.report(
        await attended.result(await attended.post(yolo, model="bright", annotation_format="yolo", version="1"))
    )
    assert (report["dataset"]["format"], report["coco"]["ap"]) == ("yolo", 1)
    both = zipped({"a.png": picture, "a.xml": voc_file(*PLACES[0]), "a.txt": shares, "data.yaml": "names: [thing]\n"})
    assert (await attended.send(both, model="bright")).status_code == 422


async def test_the_same_request_has_the_same_files(attended: Bench) -> None:
    posted = coco_set(right_boxes())
    results = [await attended.result(await attended.post(posted, model="bright")) for _ in range(2)]
    for name in ("report.json", "detections.json", "worst-pictures.png"):
        assert results[0]["files"][name]["sha256"] == results[1]["files"][name]["sha256"]


async def test_the_caller_may_wait(attended: Bench) -> None:
    answer = await attended.client.post(
        "/v1/perception/detections/evaluations",
        files={"file": ("set.zip", coco_set(right_boxes()))},
        data={"model": "bright"},
        headers={"Prefer": "wait=60"},
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.json()["result"]["report"]["coco"]["ap"] == 1


async def test_a_picture_that_cannot_be_decoded_fails_the_job_by_name(attended: Bench) -> None:
    cut = encoded(bright_picture(96, 128, PLACES[0]))[:-40]
    shares = "0 0.5 0.5 0.2 0.2"
    dataset = zipped({"a.png": cut, "a.txt": shares, "classes.txt": "thing\n"})
    record = await attended.finish(await attended.post(dataset, model="bright", annotation_format="yolo"))
    assert record.status is JobStatus.FAILED
    assert record.problem is not None
    assert "'a.png'" in record.problem["detail"]
    assert record.problem["errors"][0]["pointer"] == "/body/file"


async def test_a_running_evaluation_is_cancelled(attended: Bench) -> None:
    job_id = await attended.post(coco_set(right_boxes(2000)), model="bright")
    await attended.until_begun(job_id)
    await attended.jobs.request_cancel(job_id)
    assert (await attended.finish(job_id)).status is JobStatus.CANCELLED


@pytest.mark.parametrize(
    ("content", "form", "status", "pointer", "said"),
    [
        (b"", {}, 422, "/body/file", "empty"),
        (b"no archive", {}, 415, "/body/file", ""),
        (zipped({"a.txt": "x"}), {}, 422, "/body/file", "no pictures"),
        (zipped({"a.png": encoded(np.zeros((4, 4, 3), np.uint8))}), {}, 422, "/body/file", "no annotations"),
        (coco_set({"a.png": []}), {}, 422, "/body/file", "no boxes"),
        (coco_set({"a.png": [("bird", (0, 0, 9, 9))]}, names=("bird",)), {}, 422, "/body/file", "class_mapping"),
        (coco_set(right_boxes()), {"annotation_format": "voc"}, 422, "/body/annotation_format", "yolo"),
        (coco_set(right_boxes()), {"annotation_format": "yolo"}, 422, "/body/file", "yolo"),
        (coco_set(right_boxes()), {"first_pixel": "2"}, 422, "/body/first_pixel", "1"),
        (coco_set(right_boxes()), {"class_mapping": "car"}, 422, "/body/class_mapping", "JSON object"),
        (coco_set(right_boxes()), {"class_mapping": '{"thing": 3}'}, 422, "/body/class_mapping", "JSON object"),
        (coco_set(right_boxes()), {"class_mapping": '{"thin": "thing"}'}, 422, "/body/class_mapping", "'thing' meant"),
        (coco_set(right_boxes()), {"class_mapping": '{"thing": "bird"}'}, 422, "/body/class_mapping", "detector"),
        (coco_set(right_boxes()), {"model": "low-dose-ct"}, 422, "/body/model", "no parameters.detection"),
    ],
)
async def test_what_is_wrong_is_said_at_once(
    bench: Bench, content: bytes, form: dict[str, Any], status: int, pointer: str, said: str
) -> None:
    answer = await bench.send(content, **{"model": "bright", **form})
    assert answer.status_code == status, answer.text
    (error, *_) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert said in error["detail"]


async def test_unknown_models(bench: Bench) -> None:
    assert (await bench.send(coco_set(right_boxes()), model="nothing")).status_code == 404
    assert (await bench.send(coco_set(right_boxes()), model="bright", version="7")).status_code == 404
