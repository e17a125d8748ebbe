"""A series of CT slices, from the post to the files of its result: service, Redis, worker process and blob store."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pydicom
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from services.medical.app import create_app
from services.medical.low_dose_ct.images.attenuation import attenuation_to_hu, hu_to_attenuation
from shared.imaging.dicom_writing import SlicePlace, new_ct
from shared.imaging.signatures import MediaType, sniff
from shared.jobs.records import JobStatus
from shared.jobs.store import open_job_store
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.support.archives import zipped
from tests.support.capability import npy
from tests.support.serving import running, until_models_are_open
from tests.support.tiny_models import mean_of_neighbours, release
from tests.support.workers import JobBench, until_attended

ENHANCE, RECONSTRUCT = "/v1/medical/ct/enhancements", "/v1/medical/ct/reconstructions"

Part = tuple[str, tuple[str, bytes]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Bench(JobBench):
    """The medical service with a worker behind it, and the two stores that they share."""

    QUEUE = "medical.onnx"

    async def post(self, route: str, parts: list[Part], *, accept: str = "*/*", **form: str) -> str:
        """Post a series; returns the id of its job."""
        answer = await self.client.post(route, files=parts, data=form, headers={"Accept": accept})
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["id"]
        assert answer.headers["Location"] == f"/v1/jobs/{job_id}"
        assert int(answer.headers["Retry-After"]) >= 1
        return job_id


@asynccontextmanager
async def open_bench(settings: Settings) -> AsyncIterator[Bench]:
    async with open_job_store(settings) as jobs, running(create_app(settings)) as client:
        await until_models_are_open(client)
        yield Bench(client, jobs, BlobStore(settings.blob_url), settings)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    folder = tmp_path_factory.mktemp("series")
    release(folder / "models" / "medical", "low-dose-ct", kind="mean")
    release(folder / "models" / "medical", "gaussian-denoiser", kind="mean", parameters={"blend_hu": [500, 600]})
    settings = Settings(
        redis_url=f"{redis_server}/5",
        blob_url=str(folder / "blobs"),
        models=folder / "models",
        worker_heartbeat_s=0.3,
        inference_threads=1,
    )
    async with open_bench(settings) as opened:
        with opened.worker() as worker:
            await until_attended(opened.jobs, opened.QUEUE, worker)
            yield opened


def slice_hu(number: int) -> NDArray[np.float64]:
    return np.random.default_rng(number).normal(0, 60, (24, 20)).round()


def dicom(number: int) -> bytes:
    return new_ct(
        slice_hu(number), spacing_mm=(0.7, 0.7), series_description="Scan", derivation="none",
        place=SlicePlace("1.2.3.4", "1.2.3", number=number + 1),
    )  # fmt: skip


def parts(*files: bytes) -> list[Part]:
    return [("file", (f"slice-{number}", data)) for number, data in enumerate(files)]


def stored_hu(data: bytes) -> tuple[pydicom.Dataset, NDArray[np.float64]]:
    dataset = pydicom.dcmread(io.BytesIO(data))
    return dataset, dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


def denoised(hu: NDArray[np.float64]) -> NDArray[np.float32]:
    return attenuation_to_hu(mean_of_neighbours(hu_to_attenuation(hu, clip=False)))


async def test_slices_that_need_no_help_say_so_one_by_one(bench: Bench) -> None:
    result = await bench.result(await bench.post(ENHANCE, parts(dicom(0), dicom(1)), model="gaussian-denoiser"))
    for number, each in enumerate(result["slices"]):
        assert ["answered as it is" in caveat for caveat in each["caveats"]] == [True]
        dataset, hu = stored_hu(bench.file(result, each["file"]))
        np.testing.assert_array_equal(hu, slice_hu(number))
        assert "answered as it is" in dataset.ImageComments


async def test_series_with_a_damaged_slice(bench: Bench) -> None:
    job_id = await bench.post(ENHANCE, parts(dicom(0), dicom(1), dicom(2)[:-300], dicom(3)))
    result = await bench.result(job_id)

    names = ["slice-0001.dcm", "slice-0002.dcm", "slice-0004.dcm"]
    assert sorted(result["files"]) == ["series.zip", *names]
    assert [entry["file"] for entry in result["slices"]] == [*names[:2], None, names[2]]
    problem = result["slices"][2]["problem"]
    assert (problem["status"], problem["errors"][0]["pointer"]) == (422, "/body/file/2")
    assert "cut off" in problem["detail"]
    assert result["slices"][0]["after"]["noise_hu"] < result["slices"][0]["before"]["noise_hu"]
    assert result["model"]["name"] == "low-dose-ct"
    assert "not a medical device" in result["disclaimer"]

    answers = [stored_hu(bench.file(result, name)) for name in names]
    for number, (dataset, hu) in zip((0, 1, 3), answers, strict=True):
        np.testing.assert_allclose(hu, denoised(slice_hu(number)), atol=0.51)
        assert (dataset.StudyInstanceUID, dataset.InstanceNumber) == ("1.2.3", number + 1)
    assert len({dataset.SOPInstanceUID for dataset, _ in answers}) == 3
    (series,) = {dataset.SeriesInstanceUID for dataset, _ in answers}
    assert series != "1.2.3.4"


async def test_events_tell_of_each_slice(bench: Bench) -> None:
    job_id = await bench.post(ENHANCE, parts(dicom(0), dicom(1)))
    await bench.finish(job_id)
    events = [event async for event in bench.jobs.events.follow(job_id) if event is not None]
    assert events[-1].type == "done"
    steps = [(event.data["step"], event.data["total"]) for event in events if event.type == "progress"]
    assert steps[0] == (0, 2)
    assert steps[-1] == (2, 2)
    previews = [bench.blobs.get(event.data["digest"]) for event in events if event.type == "preview"]
    assert [sniff(preview) for preview in previews] == [MediaType.PNG] * 2


async def test_zip_in_zip_out(bench: Bench) -> None:
    packed = zipped({f"scan/slice {number}.npy": npy(slice_hu(number)) for number in (10, 2, 1)})
    result = await bench.result(await bench.post(ENHANCE, parts(packed)))
    with zipfile.ZipFile(io.BytesIO(bench.file(result, "series.zip"))) as archive:
        assert archive.namelist() == ["slice-0001.npy", "slice-0002.npy", "slice-0003.npy"]
        for name, number in zip(archive.namelist(), (1, 2, 10), strict=True):
            np.testing.assert_allclose(np.load(io.BytesIO(archive.read(name))), denoised(slice_hu(number)), atol=0.1)
            assert archive.read(name) == bench.file(result, name)
        assert all(entry.external_attr >> 16 & 0o400 for entry in archive.infolist()), "unzip makes readable files"


async def test_zip_of_a_hospitals_cd(bench: Bench) -> None:
    """Viewers and texts beside the slices are no slices; a file of no known type is refused by its name."""
    viewers = {"AUTORUN.INF": b"[autorun]\r\nopen=v.exe", "README.TXT": b"hello", "V.EXE": b"MZ\0"}
    packed = zipped(viewers | {"DICOM/I1": dicom(1)})
    damaged = zipped({"DICOM/I1": dicom(1), "DICOM/I2": b"\x00\x9f" * 300})
    result = await bench.result(await bench.post(ENHANCE, parts(packed)))
    assert [entry["file"] for entry in result["slices"]] == ["slice-0001.dcm"]
    answer = await bench.client.post(ENHANCE, files=parts(damaged))
    assert (answer.status_code, "DICOM/I2" in answer.json()["detail"]) == (415, True)


async def test_sinograms_become_one_dicom_series(bench: Bench) -> None:
    scans = [npy(np.full((20, 24), 0.01 * number)) for number in (1, 2)]
    form = {"angles": "20", "detectors": "24", "image_size": "16", "slice_distance_mm": "2.5"}
    job_id = await bench.post(RECONSTRUCT, parts(*scans), accept="application/dicom", **form)
    result = await bench.result(job_id)
    datasets = [stored_hu(bench.file(result, f"slice-000{number}.dcm"))[0] for number in (1, 2)]
    for uid in ("SeriesInstanceUID", "StudyInstanceUID"):
        assert len({dataset[uid].value for dataset in datasets}) == 1
    assert [dataset.InstanceNumber for dataset in datasets] == [1, 2]
    assert len({dataset.FrameOfReferenceUID for dataset in datasets}) == 1
    assert [list(dataset.ImagePositionPatient) for dataset in datasets] == [[0, 0, 0], [0, 0, 2.5]]
    assert datasets[0].SOPInstanceUID != datasets[1].SOPInstanceUID


async def test_sinograms_answer_arrays_by_default(bench: Bench) -> None:
    form = {"angles": "20", "detectors": "24", "image_size": "16", "denoise": "false", "unit": "normalised"}
    scan = npy(np.full((20, 24), 0.01))
    result = await bench.result(await bench.post(RECONSTRUCT, parts(scan, npy(np.zeros((3, 3)))), **form))
    assert np.load(io.BytesIO(bench.file(result, "slice-0001.npy"))).shape == (16, 16)
    assert "20 angles" in result["slices"][1]["problem"]["detail"]
    assert result["model"] is None


async def test_series_without_a_good_slice_fails_and_says_why(bench: Bench) -> None:
    record = await bench.finish(await bench.post(ENHANCE, parts(dicom(0)[:-300], npy(np.full((9, 9), np.nan)))))
    assert record.status is JobStatus.FAILED
    assert record.problem is not None
    assert record.problem["status"] == 422
    assert "None of the 2 slices" in record.problem["detail"]


async def test_file_of_a_foreign_type_is_refused_before_a_job_is_made(bench: Bench) -> None:
    before = await bench.jobs.list_jobs()
    answer = await bench.client.post(ENHANCE, files=parts(dicom(0), b"%PDF-1.7"))
    assert answer.status_code == 415
    assert answer.json()["errors"][0]["pointer"] == "/body/file/1"
    assert [record.id for record in (await bench.jobs.list_jobs()).records] == [record.id for record in before.records]


async def test_cancel_in_the_middle_frees_the_worker(bench: Bench) -> None:
    job_id = await bench.post(ENHANCE, parts(*[npy(slice_hu(number)) for number in range(250)]))
    async for event in bench.jobs.events.follow(job_id):
        if event is not None and event.type == "preview":
            break
    await bench.jobs.request_cancel(job_id)
    cancelled = await bench.finish(job_id)
    assert cancelled.status is JobStatus.CANCELLED
    assert cancelled.progress.step < 250
    assert await bench.result(await bench.post(ENHANCE, parts(dicom(0), dicom(1))))


async def test_killed_worker_costs_no_slice_and_splits_no_series(bench: Bench, redis_server: str) -> None:
    settings = bench.settings.model_copy(update={"redis_url": f"{redis_server}/7"})
    async with open_bench(settings) as own:
        with own.worker() as first:
            await until_attended(own.jobs, own.QUEUE, first)
            slices = parts(*[npy(slice_hu(number)) for number in range(60)])
            job_id = await own.post(ENHANCE, slices, accept="application/dicom")
            async for event in own.jobs.events.follow(job_id):
                if event is not None and event.type == "preview":
                    break
        with own.worker():
            result = await own.result(job_id)
        record = await own.jobs.get(job_id)
        assert record.attempt > 1
        datasets = [stored_hu(own.file(result, entry["file"]))[0] for entry in result["slices"]]
        assert [dataset.InstanceNumber for dataset in datasets] == list(range(1, 61))
        assert len({dataset.SeriesInstanceUID for dataset in datasets}) == 1
        assert len({dataset.SOPInstanceUID for dataset in datasets}) == 60


async def test_caller_who_waits_gets_the_finished_job(bench: Bench) -> None:
    answer = await bench.client.post(ENHANCE, files=parts(dicom(0), dicom(1)), headers={"Prefer": "wait=60"})
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=60"
    job = answer.json()
    assert answer.headers["Content-Location"] == f"/v1/jobs/{job['id']}"
    assert job["status"] == "succeeded"
    assert "series.zip" in job["result"]["files"]


async def test_single_slice_becomes_a_job_where_the_caller_prefers_it(bench: Bench) -> None:
    headers = {"Prefer": "respond-async"}
    answer = await bench.client.post(ENHANCE, files=parts(dicom(0)), headers=headers)
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert (await bench.result(answer.json()["id"]))["slices"][0]["file"] == "slice-0001.dcm"


async def test_ready_with_redis_and_models(bench: Bench) -> None:
    answer = await bench.client.get("/health/ready")
    checks = {"models": "ok", "redis": "ok", "uploaded models": "ok"}
    assert (answer.status_code, answer.json()["checks"]) == (200, checks)


async def test_without_a_worker_the_series_is_refused(bench: Bench, redis_server: str) -> None:
    settings = bench.settings.model_copy(update={"redis_url": f"{redis_server}/6"})
    async with running(create_app(settings)) as client:
        await until_models_are_open(client)
        answer = await client.post(ENHANCE, files=parts(dicom(0), dicom(1)))
    assert answer.status_code == 503
    assert "--weight onnx" in answer.json()["detail"]
    assert answer.headers["Retry-After"]
