"""Adaptation by the service and a real worker with torch: refusals at once, killed workers, served detectors."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio
import torch

from services.perception.detection.capability import ADAPTATION_PATH, ADAPTATIONS
from services.perception.detection.demo import (
    annotated_autumn_streets,
    annotated_dusk_streets,
    annotated_streets,
    dusk_streets,
)
from shared.jobs.records import JobStatus
from shared.problems import PROBLEM_MEDIA_TYPE
from tests.support.archives import zipped
from tests.support.detection import Bench, open_bench
from tests.support.workers import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCES = (annotated_streets(), annotated_autumn_streets())
SMALL = {"backbone": "scratch", "short_side": "96", "batch": "1", "threshold": "0.05"}


class AdaptationBench(Bench):
    """The service, and what it shares with a worker with torch."""

    QUEUE = ADAPTATIONS.queue

    async def adapt(self, *sources: bytes, target: bytes, holdout: bytes | None = None, **form: str) -> httpx.Response:
        """Ask for an adaptation."""
        files = [("source", (f"{number}.zip", one)) for number, one in enumerate(sources)]
        files.append(("target", ("target.zip", target)))
        if holdout is not None:
            files.append(("holdout", ("holdout.zip", holdout)))
        return await self.client.post(ADAPTATION_PATH, files=files, data={**SMALL, **form})

    async def create(self, *sources: bytes, target: bytes, holdout: bytes | None = None, **form: str) -> str:
        """Create the job; returns its id."""
        answer = await self.adapt(*sources, target=target, holdout=holdout, **form)
        assert answer.status_code == 202, answer.text
        identifier: str = answer.json()["id"]
        return identifier


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def adapting(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AdaptationBench]:
    async with open_bench(f"{redis_server}/11", tmp_path_factory.mktemp("adaptation")) as opened:
        yield AdaptationBench(opened.client, opened.jobs, opened.blobs, opened.settings)


async def test_a_killed_worker_is_followed_by_one_that_ends_at_the_same_weights(adapting: AdaptationBench) -> None:
    with adapting.worker():
        await adapting.until_attended()
        unbroken, job_id = [
            await adapting.create(SOURCES[0], target=dusk_streets(), burn_in="10", steps="5") for _ in range(2)
        ]
        whole = await adapting.result(unbroken)
        await adapting.until_begun(job_id)
    # The block above ends with SIGKILL to the worker and its children.
    record = await adapting.jobs.get(job_id)
    assert record.checkpoint is not None
    saved = torch.load(io.BytesIO(adapting.blobs.get(record.checkpoint.partition(" ")[0])), weights_only=True)
    assert saved["adaptation"]["step"] == 10
    with adapting.worker():
        resumed = await adapting.finish(job_id)
    assert resumed.status is JobStatus.SUCCEEDED, resumed.problem
    assert resumed.attempt > 1
    assert resumed.result is not None
    assert resumed.result["model"] == whole["model"]


async def test_the_detector_is_served_when_that_was_asked_for(adapting: AdaptationBench) -> None:
    with adapting.worker():
        await adapting.until_attended()
        job_id = await adapting.create(
            SOURCES[0],
            target=dusk_streets(),
            holdout=annotated_dusk_streets(),
            burn_in="10",
            steps="5",
            name="dusk",
            register_model="true",
        )
        result = await adapting.result(job_id)
    assert result["registered"] is True
    assert result["before"]["pictures"] == result["after"]["pictures"] == 6
    answer = await until_served(adapting, "dusk")
    assert answer["model"]["weights_sha256"] == result["model"]["weights_sha256"]
    assert adapting.file(result, "before-after.png").startswith(b"\x89PNG")


async def until_served(adapting: AdaptationBench, name: str) -> dict[str, Any]:
    """The answer of a detector, when its service has opened it."""
    _, picture = dict_of(dusk_streets()).popitem()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await adapting.client.post(
                "/v1/perception/detections", files={"file": ("dusk.png", picture)}, data={"model": name}
            )
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                return found
            assert answer.status_code in {404, 503}, answer.text  # not known yet, or about to be opened
            await asyncio.sleep(0.2)


async def test_without_a_worker_it_is_refused_with_advice(adapting: AdaptationBench) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await adapting.jobs.live_workers(ADAPTATIONS.queue):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.1)
    answer = await adapting.adapt(SOURCES[0], target=dusk_streets())
    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM_MEDIA_TYPE)
    assert "make run TORCH=1" in answer.json()["detail"]


def renamed(archive: bytes) -> bytes:
    """The same set with another name for its class."""
    files = dict_of(archive)
    files["annotations.json"] = files["annotations.json"].replace(b'"car"', b'"lorry"')
    return zipped(files)


def dict_of(archive: bytes) -> dict[str, bytes]:
    """The files of a ZIP."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.mark.parametrize(
    ("sources", "files", "form", "status", "pointer"),
    [
        ((dusk_streets(),), {"target": dusk_streets()}, {}, 422, "/body/source/0"),
        ((SOURCES[0], renamed(SOURCES[1])), {"target": dusk_streets()}, {}, 422, "/body/source/1"),
        ((b"no zip",), {"target": dusk_streets()}, {}, 415, "/body/source/0"),
        ((SOURCES[0],), {"target": b""}, {}, 422, "/body/target"),
        ((SOURCES[0],), {"target": zipped({"a.txt": "no picture"})}, {}, 422, "/body/target"),
        ((SOURCES[0],), {"target": dusk_streets(), "holdout": renamed(SOURCES[1])}, {}, 422, "/body/holdout"),
        ((SOURCES[0],), {"target": dusk_streets()}, {"threshold": "nan"}, 422, "/body/threshold"),
        ((SOURCES[0],), {"target": dusk_streets()}, {"method": "magic"}, 422, "/body/method"),
        ((SOURCES[0],), {"target": dusk_streets()}, {"name": "../etc"}, 422, "/body/name"),
    ],
)
async def test_what_cannot_be_adapted_to_is_refused_at_once(
    adapting: AdaptationBench,
    sources: tuple[bytes, ...],
    files: Mapping[str, bytes],
    form: Mapping[str, str],
    status: int,
    pointer: str,
) -> None:
    answer = await adapting.adapt(*sources, target=files["target"], holdout=files.get("holdout"), **form)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM_MEDIA_TYPE), answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_a_hold_out_with_too_many_pictures_is_refused(
    adapting: AdaptationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACET_DETECTION_PICTURES_LIMIT", "5")
    answer = await adapting.adapt(SOURCES[0], target=dusk_streets(), holdout=annotated_dusk_streets())
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (413, "/body/holdout")
    assert "at most 5 are measured on" in answer.json()["errors"][0]["detail"]


async def test_a_set_may_be_as_large_as_the_setting_of_detection_says(
    adapting: AdaptationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is more than what other files may be."""
    monkeypatch.setenv("FACET_DETECTION_UPLOAD_LIMIT_BYTES", str(len(SOURCES[0]) - 1))
    answer = await adapting.adapt(SOURCES[0], target=dusk_streets())
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (413, "/body/source/0")
