"""Registered detectors in the job of a camouflage: a real server of somebody else counts what it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from services.security.camouflage.detection.transfers import use_endpoint
from services.security.camouflage.measurement.grids import deal_grid
from services.security.camouflage.optimisation import jobs
from services.security.camouflage.reporting import results
from services.security.camouflage.reporting.report import CamouflageReport
from services.security.camouflage.settings import CamouflageSettings
from shared.jobs.interrupts import GivenBack
from shared.problems import UnprocessableContent
from shared.storage.blobs import BlobStore
from tests.unit.services.security.camouflage.optimisation.small_jobs import (
    OPTIONS,
    Brightness,
    Context,
    file_of,
    report_of,
    run,
    shrink,
)
from tests.unit.services.security.caption_attack.remote_captioner import Answer, RemoteCaptioner, serving

NAME = "endpoint:theirs"
OWNERSHIP = "We run this detector and allow tests of it."
CONDITIONS = 12
PICTURES = 4 * CONDITIONS


@dataclass
class Elsewhere:
    """A detector of somebody else; breaks after so many pictures."""

    server: RemoteCaptioner
    breaks_after: int | None = None

    @property
    def shown(self) -> int:
        return len(self.server.requests)


def objects(picture: NDArray[np.uint8]) -> Answer:
    found = Brightness("theirs").find([picture])[0]
    listed = [
        {"box": box, "score": min(1.0, score), "kind": "car"}
        for box, score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True)
    ]
    return 200, {}, orjson.dumps({"found": listed})


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    def respond(picture: NDArray[np.uint8], count: int) -> Answer:
        broken = made.breaks_after is not None and count > made.breaks_after
        return (500, {"retry-after": "0"}, b"") if broken else objects(picture)

    made = Elsewhere(RemoteCaptioner(respond))
    shrink(monkeypatch)
    monkeypatch.setattr(results, "PICTURES", 2)
    monkeypatch.setattr(jobs, "deal_grid", lambda *given, **named: deal_grid(*given, **named)[::2])
    with serving(made.server) as url:
        endpoint = {
            "name": "theirs",
            "url": url,
            "request": {"kind": "json", "template": {"inputs": [{"image": "data:image/png;base64,{{picture}}"}]}},
            "objects": "/found",
            "boxes": "/box",
            "scores": "/score",
            "labels": "/kind",
            "queries_per_s": 1000,
            "concurrency": 4,
            "tries": 1,
            "owner": "Detectors Ltd",
            "ownership": OWNERSHIP,
        }
        monkeypatch.setenv("FACET_CAMOUFLAGE_ENDPOINTS", orjson.dumps([endpoint]).decode())
        monkeypatch.setenv("FACET_CAMOUFLAGE_ALLOWED_NETWORKS", "127.0.0.0/8")
        yield made


@pytest.fixture
def blobs() -> BlobStore:
    return BlobStore("memory://camouflage-elsewhere")


def context(blobs: BlobStore, *, until: int | None = None) -> Context:
    used = use_endpoint(CamouflageSettings().endpoint("theirs"), pictures=PICTURES)
    return Context(blobs, until=until, endpoints=[used])


def rates(report: CamouflageReport, detector: str) -> list[tuple[str, float, int, float]]:
    return [(one.texture, one.threshold, one.found, one.ap50) for one in report.rates if one.detector == detector]


def test_an_endpoint_is_measured_like_any_detector_and_counted(elsewhere: Elsewhere, blobs: BlobStore) -> None:
    asked = context(blobs)
    result = run(asked)
    report = report_of(result)
    (used,) = [one for one in report.detectors if one.endpoint is not None]
    assert used.endpoint is not None
    assert (used.name, used.role, used.silent, used.endpoint.owner) == (NAME, "transfer", None, "Detectors Ltd")
    assert elsewhere.shown == used.spent == PICTURES <= used.endpoint.budget == 53
    assert rates(report, NAME) == rates(report, "brightness") != []
    assert {one.condition for one in report.conditions if one.detector == NAME} == {
        "azimuth", "elevation", "distance", "light", "background"
    }  # fmt: skip
    page = file_of(asked, result, "report.html").decode()
    assert f"shown {PICTURES} pictures of at most 53; {OWNERSHIP}" in page


def test_a_killed_worker_costs_an_endpoint_no_more_than_its_budget(elsewhere: Elsewhere, blobs: BlobStore) -> None:
    first = context(blobs, until=OPTIONS.steps + 5)
    with pytest.raises(GivenBack):
        run(first)
    assert elsewhere.shown == 20
    second = context(blobs)
    second.saved = first.saved
    report = report_of(run(second))
    (used,) = [one for one in report.detectors if one.endpoint is not None]
    assert used.endpoint is not None
    assert elsewhere.shown == PICTURES, "what was answered is not asked again"
    assert elsewhere.shown <= (used.spent or 0) <= elsewhere.shown + 4, "what may have been lost is counted"
    assert report.frames == CONDITIONS
    assert rates(report, NAME) == rates(report, "brightness")


def test_an_endpoint_that_breaks_leaves_the_measures_of_the_others(elsewhere: Elsewhere, blobs: BlobStore) -> None:
    elsewhere.breaks_after = 20
    report = report_of(run(context(blobs)))
    (used,) = [one for one in report.detectors if one.endpoint is not None]
    assert "status 500" in (used.silent or "")
    assert {one.frames for one in report.rates if one.detector == NAME} == {5}
    assert {one.frames for one in report.rates if one.detector == "brightness"} == {CONDITIONS}
    assert any("was not asked to the end" in line and "status 500" in line for line in report.advice)
    assert 20 < elsewhere.shown <= (used.spent or 0) <= 24


def test_an_endpoint_that_is_not_there_any_more_ends_the_job_before_its_first_step(
    elsewhere: Elsewhere, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = context(blobs)
    monkeypatch.setenv("FACET_CAMOUFLAGE_ALLOWED_NETWORKS", "")
    with pytest.raises(UnprocessableContent, match="cannot be asked"):
        run(begun)
    monkeypatch.setenv("FACET_CAMOUFLAGE_ENDPOINTS", "[]")
    with pytest.raises(UnprocessableContent, match="not registered any more"):
        run(begun)
    assert (begun.steps, elsewhere.shown) == ([], 0)
