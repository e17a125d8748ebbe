"""The job of an adaptation: from posted archives to a detector that runs; and after an interruption to the same one."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from services.perception.detection.adaptation_schemas import AdaptationOptions, AdaptationResult, AdaptationTask
from services.perception.detection.optimisation import jobs
from services.perception.detection.optimisation.guards import GuardOptions
from shared.jobs.context import JobContext
from shared.jobs.interrupts import GivenBack
from shared.problems import UnprocessableContent
from shared.runtime.cards import UploadedCard
from shared.storage.blobs import BlobStore
from tests.support.archives import zipped
from tests.support.detectors import CLASSES, rectangle_image

OPTIONS = AdaptationOptions(backbone="scratch", short_side=96, burn_in=10, steps=4, batch=1, threshold=0.05)


def archive(shade: float, *, pictures: int = 4, labelled: bool = True, names: tuple[str, ...] = CLASSES) -> bytes:
    """A ZIP of rectangles in COCO's format."""
    files: dict[str, bytes | str] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(pictures):
        rectangles = [(label, (6 + 30 * label, 8 + 4 * index, 30 + 30 * label, 40)) for label in range(3)]
        image, _ = rectangle_image(rectangles, 96, 128)
        pixels = (image * shade * 255).numpy().astype(np.uint8).transpose(1, 2, 0)
        png = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(png, "PNG")
        files[f"images/{index}.png"] = png.getvalue()
        images.append({"id": index, "file_name": f"{index}.png", "width": 128, "height": 96})
        for label, (left, top, right, bottom) in rectangles:
            box = [left, top, right - left, bottom - top]
            annotations.append({"id": len(annotations) + 1, "image_id": index, "category_id": label + 1, "bbox": box})
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    described = {"images": images, "annotations": annotations, "categories": categories}
    if labelled:
        files["labels.json"] = json.dumps(described)
    return zipped(files)


class Context:
    """A job context that remembers, and is interrupted at a step."""

    job_id = "01a22742-48ab-7c77-b7e9-d91f58543d76"

    def __init__(self, blobs: BlobStore, arguments: dict[str, Any], *, until: int | None = None) -> None:
        self.blobs, self.arguments, self.until = blobs, arguments, until
        self.steps: list[int] = []
        self.previews: list[bytes] = []
        self.saved: bytes | None = None

    def progress(self, step: int, total: int | None = None, message: str = "") -> None:
        if step == self.until:
            raise GivenBack
        assert total == OPTIONS.burn_in + OPTIONS.steps
        assert "loss" in message
        self.steps.append(step)

    def preview(self, data: bytes, media_type: str) -> None:
        assert media_type == "image/png"
        self.previews.append(data)

    def checkpoint(self, state: bytes) -> None:
        self.saved = state

    def restore(self) -> bytes | None:
        return self.saved

    def log(self, message: str) -> None:
        assert "step" in message


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few looks on the way, and one thread as other tests beside have."""
    monkeypatch.setattr(jobs, "LOOKS", 2)
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)


@pytest.fixture
def blobs() -> BlobStore:
    return BlobStore("memory://adaptation")


def task(blobs: BlobStore, *, options: AdaptationOptions = OPTIONS, sources: int = 2, holdout: bool = True) -> Any:
    digests = [blobs.put(archive(shade)).digest for shade in (1.0, 0.6)[:sources]]
    target = blobs.put(archive(0.8, labelled=False)).digest
    measured = blobs.put(archive(0.8)).digest if holdout else None
    made = AdaptationTask(options=options, sources=digests, target=target, holdout=measured)
    return made.model_dump(mode="json")


def run(context: Context) -> AdaptationResult:
    return AdaptationResult.model_validate(jobs.adapt(cast("JobContext", context)))


def test_archives_become_a_detector_that_runs(blobs: BlobStore) -> None:
    context = Context(blobs, task(blobs))
    result = run(context)
    assert context.steps == list(range(1, 15))
    assert len(context.previews) >= jobs.LOOKS
    assert result.classes == list(CLASSES)
    assert result.pictures == {"source_1": 3, "source_2": 3, "target": 4}
    assert result.before is not None
    assert result.after is not None
    assert {one.name: one.objects for one in result.after.classes} == dict.fromkeys(CLASSES, 4)
    assert set(result.files) == {"detector.onnx", "card.json", "before-after.png"}
    assert result.parity < 1e-4
    content = blobs.get(result.files["detector.onnx"].digest)
    boxes, scores = onnxruntime.InferenceSession(content).run(None, {"image": np.zeros((1, 3, 96, 160), np.float32)})
    assert (boxes.shape[1:], scores.shape[1:]) == ((3, 4), (3,))
    card = UploadedCard.model_validate_json(blobs.get(result.files["card.json"].digest))
    assert card.weights.sha256 == result.model.weights_sha256
    assert card.parameters["detection"]["classes"] == list(CLASSES)  # type: ignore[index,call-overload]
    losses = result.epochs[-1].losses
    assert set(losses) == {"supervised", "unsupervised", "image", "instance"}


def test_an_interrupted_job_ends_at_the_same_detector(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_SAVED_EVERY", 3)
    unbroken = run(Context(blobs, task(blobs)))
    first = Context(blobs, task(blobs), until=12)
    with pytest.raises(GivenBack):
        run(first)
    second = Context(blobs, task(blobs))
    second.saved = first.saved
    resumed = run(second)
    assert second.steps == [11, 12, 13, 14]
    assert resumed.model == unbroken.model
    assert resumed.before == unbroken.before
    assert [one.step for one in resumed.epochs] == [one.step for one in unbroken.epochs]
    last = Context(blobs, task(blobs))
    last.saved = second.saved
    assert run(last).model == unbroken.model
    assert last.steps == [], "all steps were done when the worker was lost"


def test_one_source_is_adapted_without_instances(blobs: BlobStore) -> None:
    result = run(Context(blobs, task(blobs, sources=1, holdout=False)))
    assert (result.before, result.after) == (None, None)
    assert "instance" not in result.epochs[-1].losses
    assert any("two sources" in one for one in result.caveats)
    assert any("No labelled pictures of the target" in one for one in result.caveats)


def test_a_run_that_finds_nothing_says_what_to_change(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    options, recipe_of = OPTIONS.model_copy(update={"threshold": 0.999}), jobs.recipe_of
    impatient = GuardOptions(patience=3)
    monkeypatch.setattr(jobs, "recipe_of", lambda *given: replace(recipe_of(*given), guard=impatient))
    with pytest.raises(UnprocessableContent, match="Lower `threshold`"):
        run(Context(blobs, task(blobs, options=options)))


def test_what_takes_too_long_ends_early(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LONGEST_S", 0.5)
    monkeypatch.setattr(jobs, "_TIMED", 3)
    with pytest.raises(UnprocessableContent, match="fewer steps"):
        run(Context(blobs, task(blobs)))
