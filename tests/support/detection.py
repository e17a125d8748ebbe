"""The perception service with detectors whose boxes are known, its worker and their stores."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import redis.asyncio
from numpy.typing import NDArray
from PIL import Image

from services.perception.app import create_app
from services.perception.detection.capability import EVALUATIONS, PATH
from shared.jobs.store import open_job_store
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.support.detector_models import bright_detector, constant_detector, release_detector
from tests.support.serving import running, until_models_are_open
from tests.support.tiny_models import release
from tests.support.workers import JobBench

Box = tuple[int, int, int, int]

BOXES = ((8, 16, 40, 48), (9, 17, 41, 49), (64, 32, 96, 64), (8, 16, 40, 48))
SCORES = ((0.9, 0.1), (0.8, 0.1), (0.5, 0.2), (0.1, 0.7))
"""What the detector `fixed` answers of classes `near` and `far` for pictures of 96 x 96: the second overlaps the first,
the last is of the other class."""


def release_detectors(models: Path) -> None:
    """Write the models of these tests into the folder of a domain."""
    release_detector(models, bright_detector(), name="bright", classes=["thing"], caveats=["Sees what is bright."])
    fixed = {"classes": ["near", "far"], "category_ids": [7, 3], "short_side": 96, "long_side": 96}
    release_detector(models, constant_detector(BOXES, SCORES), name="fixed", **fixed)
    own = [[box, (0, 0, 96, 96)] for box in BOXES]
    release_detector(models, constant_detector(own, SCORES), name="fixed-by-class", **fixed)
    release_detector(models, constant_detector(BOXES, SCORES, sides=(96, 96)), name="fixed-sides", **fixed)
    broken = {"classes": ["a", "b", "c"], "short_side": 96, "long_side": 96}
    release_detector(models, constant_detector(BOXES, SCORES), name="three-names", **broken)
    release_detector(models, constant_detector(BOXES, SCORES), name="no-sides", classes=["a", "b"], short_side=0)
    wild = ((1.5, -0.5),)
    release_detector(models, constant_detector(BOXES[:1], wild), name="logits", **fixed)
    release(models, "low-dose-ct", kind="mean")


def bright_picture(height: int, width: int, box: Box) -> NDArray[np.uint8]:
    """Dark, with a white rectangle."""
    pixels = np.full((height, width, 3), 20, np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = 255
    return pixels


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG", *, orientation: int | None = None, **options: Any) -> bytes:
    """A picture as a file, with an EXIF orientation if one is given."""
    stream = io.BytesIO()
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    Image.fromarray(pixels).save(stream, format=kind, **options)
    return stream.getvalue()


class Bench(JobBench):
    """The service, and what it shares with workers."""

    QUEUE = EVALUATIONS.queue

    async def send(self, dataset: bytes, **form: str) -> httpx.Response:
        """Ask for an evaluation."""
        return await self.client.post(f"{PATH}/evaluations", files={"file": ("set.zip", dataset)}, data=form)

    async def post(self, dataset: bytes, **form: str) -> str:
        """Create a job; returns its id."""
        answer = await self.send(dataset, **form)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["id"]
        return job_id


@asynccontextmanager
async def open_bench(redis_url: str, folder: Path) -> AsyncIterator[Bench]:
    """The service without a worker, with models and blobs in a folder."""
    async with redis.asyncio.from_url(redis_url) as store:
        await store.flushdb()
    release_detectors(folder / "models" / "perception")
    settings = Settings(
        _env_file=None,
        redis_url=redis_url,
        blob_url=str(folder / "blobs"),
        models=folder / "models",
        worker_heartbeat_s=1.0,
        inference_threads=1,
        pixel_limit=1280 * 960,
    )
    async with open_job_store(settings) as jobs, running(create_app(settings)) as client:
        await until_models_are_open(client)
        yield Bench(client, jobs, BlobStore(settings.blob_url), settings)
