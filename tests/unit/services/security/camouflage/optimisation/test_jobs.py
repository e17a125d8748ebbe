"""The job of a camouflage: what it leaves, however it ends."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from PIL import Image

from services.perception.detection.annotations.importing import import_pictures
from services.security.camouflage.measurement.grids import deal_grid
from services.security.camouflage.optimisation import jobs
from services.security.camouflage.optimisation.parts import VictimDigests
from services.security.camouflage.reporting import hardening
from services.security.camouflage.reporting.notices import SIMULATION
from services.security.camouflage.reporting.results import CamouflageResult
from shared.jobs.interrupts import GivenBack, JobCancelled
from shared.problems import Conflict, UnprocessableContent
from shared.storage.blobs import BlobStore
from tests.unit.services.security.camouflage.optimisation.small_jobs import (
    OPTIONS,
    UNCHANGED,
    Context,
    Descent,
    file_of,
    report_of,
    run,
    shrink,
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


@pytest.fixture(scope="module")
def blobs() -> BlobStore:
    return BlobStore("memory://camouflage")


@pytest.fixture(scope="module")
def unbroken(blobs: BlobStore) -> tuple[Context, CamouflageResult]:
    """A run from beginning to end."""
    context = Context(blobs)
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return context, run(context)


def test_a_run_hides_the_car_and_says_how_well(unbroken: tuple[Context, CamouflageResult]) -> None:
    context, result = unbroken
    assert context.steps[: OPTIONS.steps] == list(range(1, OPTIONS.steps + 1))
    assert context.steps == sorted(context.steps)
    assert context.steps[-1] == context.total
    assert "hide" in context.messages[0]
    assert len(context.previews) == 2
    report = report_of(result)
    rates = {(one.detector, one.texture): one for one in report.rates if one.threshold == 0.25}
    assert report.frames == 24
    assert report.backgrounds == {"learned": 4, "held_out": 1}
    assert rates["brightness", "plain"].rate == 1
    assert rates["brightness", "result"].rate < 0.3
    assert (rates["brightness", "result"].lost or 0) > 0.7
    assert rates["strict", "plain"].role == "transfer"
    assert (report.steps.done, report.stopped, report.notice) == (OPTIONS.steps, None, SIMULATION)
    assert report.surface.covered_share == pytest.approx(1, abs=0.01)
    assert {one.condition for one in report.conditions} == {"azimuth", "elevation", "distance", "light", "background"}
    for line in report.conditions:
        there = [one for one in report.conditions if (one.condition, one.detector, one.texture) == (
            line.condition, line.detector, line.texture)]  # fmt: skip
        assert sum(one.frames for one in there) == report.frames


def test_the_files_are_what_they_are_called(unbroken: tuple[Context, CamouflageResult]) -> None:
    context, result = unbroken
    assert set(result.files) == {
        "texture.png", "mask.png", "uv.png", "turntable.webp", "pictures.png", "losses.png", "report.json",
        "report.html", "hardening-set.zip",
    }  # fmt: skip
    with Image.open(io.BytesIO(file_of(context, result, "texture.png"))) as texture:
        assert (texture.size, texture.mode) == ((128, 128), "RGB")
    with Image.open(io.BytesIO(file_of(context, result, "turntable.webp"))) as film:
        assert film.n_frames == 3  # type: ignore[attr-defined]
        assert film.info["loop"] == 0
    assert json.loads(file_of(context, result, "report.json")) == result.report
    page = file_of(context, result, "report.html").decode()
    assert SIMULATION in page
    assert "brightness" in page
    archive = file_of(context, result, "hardening-set.zip")
    imported = import_pictures(archive, pointer="/body/source/0")
    assert imported.format == "coco"
    assert imported.annotated.class_names == (hardening.CLASS,)
    assert imported.annotated.box_count == len(imported.annotated.pictures) == 6
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        assert SIMULATION in packed.read("annotations.json").decode()


def test_a_killed_run_ends_at_the_texture_of_an_unbroken_one(
    blobs: BlobStore, unbroken: tuple[Context, CamouflageResult]
) -> None:
    first = Context(blobs, until=8)
    with pytest.raises(GivenBack):
        run(first)
    second = Context(blobs, until=OPTIONS.steps + 1, error=JobCancelled)
    second.saved = first.saved
    with pytest.raises(JobCancelled) as cancelled:
        run(second)
    resumed = CamouflageResult.model_validate(cancelled.value.result)
    assert second.steps[0] == 7
    assert "step 6" in second.messages[0]
    assert second.checkpoints == 1
    assert resumed.files["texture.png"].sha256 == unbroken[1].files["texture.png"].sha256
    assert report_of(resumed).steps.trace == report_of(unbroken[1]).steps.trace


def test_a_cancelled_run_leaves_the_texture_it_has(blobs: BlobStore) -> None:
    for at, done in ((5, 5), (OPTIONS.steps + 3, OPTIONS.steps)):
        context = Context(blobs, until=at, error=JobCancelled)
        with pytest.raises(JobCancelled) as cancelled:
            run(context)
        result = CamouflageResult.model_validate(cancelled.value.result)
        report = report_of(result)
        assert (report.steps.done, report.stopped, report.rates) == (done, jobs.CANCELLED, [])
        assert {"texture.png", "mask.png", "uv.png", "report.json", "report.html"} <= set(result.files)
        assert report.advice
    nothing = Context(blobs, until=1, error=JobCancelled)
    nothing.saved = None
    with pytest.raises(JobCancelled):
        run(nothing)


def test_a_run_whose_loss_is_no_number_is_a_problem(blobs: BlobStore) -> None:
    with pytest.raises(UnprocessableContent, match=r"step 4.*learning rate"):
        run(Context(blobs), lambda beginning: Descent(beginning, diverges_at=4))


def test_a_run_ends_when_its_time_is_up(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_CAMOUFLAGE_SECONDS_LIMIT", "1e-6")
    monkeypatch.setattr(jobs, "deal_grid", lambda *given, **named: deal_grid(*given, **named)[::8])
    report = report_of(run(Context(blobs)))
    assert report.steps.done == 1
    assert report.stopped is not None
    assert "time was up" in report.stopped
    assert report.frames == 3


def test_a_victim_that_changes_ends_the_job(blobs: BlobStore) -> None:
    for changed, said in (
        (VictimDigests("5" * 64, UNCHANGED.tensors), "file changed"),
        (VictimDigests(UNCHANGED.file, "5" * 64), "weights in memory changed"),
    ):
        seen = iter([UNCHANGED, changed])
        context = Context(blobs, until=3, error=JobCancelled)
        with pytest.raises(Conflict, match=said):
            run(context, digests=lambda seen=seen: next(seen))  # type: ignore[misc]


def test_the_victim_is_compared_with_that_of_the_first_attempt(blobs: BlobStore) -> None:
    first = Context(blobs, until=8)
    with pytest.raises(GivenBack):
        run(first)
    second = Context(blobs, until=OPTIONS.steps + 1, error=JobCancelled)
    second.saved = first.saved
    with pytest.raises(Conflict, match="weights in memory changed"):
        run(second, digests=lambda: VictimDigests(UNCHANGED.file, "5" * 64))


def test_the_report_says_that_the_victim_is_what_it_was(unbroken: tuple[Context, CamouflageResult]) -> None:
    context, result = unbroken
    check = report_of(result).victim_unchanged
    assert check is not None
    assert (check.file_sha256, check.tensors_sha256) == (UNCHANGED.file, UNCHANGED.tensors)
    assert f"(sha256 {UNCHANGED.file}, {UNCHANGED.tensors})" in file_of(context, result, "report.html").decode()
