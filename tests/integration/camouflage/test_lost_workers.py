"""Camouflages by the service and a real worker with torch: one that is killed, one that is cancelled, those refused."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import orjson
import pytest
import pytest_asyncio
import redis.asyncio
from PIL import Image

from services.security.app import create_app
from services.security.camouflage.capability import CAMOUFLAGES, PATH
from services.security.camouflage.measurement.measuring import to_bytes
from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.optimisation.assembly import fleet_parts
from services.security.camouflage.optimisation.parts import Beginning
from services.security.camouflage.schemas import CamouflageTask
from shared.access.audit import AUDIT_NOTE_HEADER
from shared.jobs.records import JobRecord, JobStatus
from shared.jobs.store import open_job_store
from shared.problems import PROBLEM_MEDIA_TYPE
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.support.serving import running
from tests.support.workers import PATIENCE_S, ROOT, JobBench

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS = 25
FORM = {
    "steps": str(STEPS), "batch": "1", "scenes": "4", "lights": "4", "side": "96", "texture_side": "128",
    "azimuths": "4", "seed": "5",
}  # fmt: skip


class CamouflageBench(JobBench):
    """The service, and what it shares with a worker with torch."""

    QUEUE = CAMOUFLAGES.queue

    async def create(self, **form: str) -> str:
        """Create the job; returns its id."""
        answer = await self.client.post(PATH, data=FORM | form)
        assert answer.status_code == 202, answer.text
        identifier: str = answer.json()["id"]
        return identifier

    async def cancel_at(self, job_id: str, step: int) -> JobRecord:
        """Cancel a job when it has made so many steps."""
        async with asyncio.timeout(PATIENCE_S):
            while (record := await self.jobs.get(job_id)).progress.step < step:
                assert not record.status.is_final, record.problem
                await asyncio.sleep(0.005)
        await self.jobs.request_cancel(job_id)
        return await self.finish(job_id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CamouflageBench]:
    folder, url = tmp_path_factory.mktemp("camouflages"), f"{redis_server}/13"
    for name in ("vehicle-detector", "traffic-signs"):
        shutil.copytree(ROOT / "services/perception/models" / name, folder / "models" / "perception" / name)
    async with redis.asyncio.from_url(url) as store:
        await store.flushdb()
    settings = Settings(
        _env_file=None,
        redis_url=url,
        blob_url=str(folder / "blobs"),
        models=folder / "models",
        worker_heartbeat_s=0.3,
        inference_threads=1,
    )
    async with open_job_store(settings) as jobs, running(create_app(settings)) as client:
        yield CamouflageBench(client, jobs, BlobStore(settings.blob_url), settings)


def make_unbroken(settings: Settings, record: JobRecord) -> bytes:
    """Texels of the same steps in this process, from the first to the last."""
    task = CamouflageTask.model_validate(record.arguments)
    begun = fleet_parts(settings).begin(Beginning(task.options.plan(), make_car("sedan"), task.victim, [], 0.5))
    for _ in range(STEPS):
        begun.run.step()
    return to_bytes(begun.run.texture()).tobytes()


def texels(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture).tobytes()


async def test_a_killed_worker_is_followed_by_one_that_ends_at_the_texture_of_an_unbroken_run(
    bench: CamouflageBench,
) -> None:
    with bench.worker():
        await bench.until_attended()
        job_id = await bench.create()
        await bench.until_begun(job_id)
    # The block above ends with SIGKILL to the worker and its children.
    killed = await bench.jobs.get(job_id)
    assert saved_steps(bench, killed) == 20
    assert killed.progress.step < STEPS
    unbroken = await asyncio.to_thread(make_unbroken, bench.settings, killed)
    with bench.worker():
        # All steps are made; what would be measured now is another test's.
        resumed = await bench.cancel_at(job_id, STEPS)
        cut = await bench.cancel_at(await bench.create(), 2)
    assert (resumed.status, cut.status) == (JobStatus.CANCELLED, JobStatus.CANCELLED)
    assert resumed.attempt > 1
    assert resumed.result is not None
    assert resumed.result["report"]["steps"]["done"] == STEPS
    assert len(resumed.result["report"]["steps"]["trace"]) == STEPS
    assert texels(bench.file(resumed.result, "texture.png")) == unbroken
    check_partial(bench, cut)


def saved_steps(bench: CamouflageBench, record: JobRecord) -> int:
    """Steps of a checkpoint: a document, whose length stands before it, and the state of the run."""
    assert record.checkpoint is not None
    saved = bench.blobs.get(record.checkpoint.partition(" ")[0])
    return len(orjson.loads(saved[8 : 8 + int.from_bytes(saved[:8], "big")])["trace"])


def check_partial(bench: CamouflageBench, record: JobRecord) -> None:
    """Whether a run that was cancelled has left what it had."""
    result = record.result
    assert result is not None
    report = bench.report(result)
    assert 2 <= report["steps"]["done"] < STEPS
    assert (report["stopped"], report["rates"]) == ("It was cancelled.", [])
    victim = report["detectors"][0]["model"]["weights_sha256"]
    assert report["victim_unchanged"]["file_sha256"] == victim
    assert len(set(texels(bench.file(result, "texture.png")))) > 10
    assert "Not complete" in bench.file(result, "report.html").decode()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"victim": "nobody"}, "/body/victim"),
    ({"victim": "traffic-signs"}, "/body/victim"),
    ({"transfer": ["nobody"]}, "/body/transfer/0"),
    ({"transfer": ["traffic-signs"]}, "/body/transfer/0"),
    ({"transfer": ["endpoint:theirs", "endpoint:others"]}, "/body/transfer/1"),
]


async def test_detectors_are_those_of_the_fleet_and_of_its_operator(
    bench: CamouflageBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = {
        "name": "theirs", "url": "https://detector.example/v1", "request": {"kind": "multipart", "file": "photo"},
        "boxes": "/boxes", "scores": "/scores", "owner": "Detectors Ltd", "queries_per_s": 100,
        "ownership": "We run this detector and allow tests of it.",
    }  # fmt: skip
    monkeypatch.setenv("FACET_CAMOUFLAGE_ENDPOINTS", orjson.dumps([registered]).decode())
    for form, pointer in REFUSED:
        answer = await bench.client.post(PATH, data=FORM | form)
        assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM_MEDIA_TYPE), answer.text
        assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]
    with bench.worker():
        await bench.until_attended()
        answer = await bench.client.post(PATH, data=FORM | {"transfer": "endpoint:theirs"})
        assert answer.status_code == 202, answer.text
        await bench.jobs.request_cancel(answer.json()["id"])
    assert "owned%20by%20Detectors%20Ltd" in answer.headers[AUDIT_NOTE_HEADER]
