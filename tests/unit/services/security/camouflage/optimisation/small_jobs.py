"""The job of a camouflage at toy size: a white box before dark pictures, and a detector of what is bright.

A step makes two pictures darker, by their gradient in the texture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.optimisation.divergence import require_finite
from services.security.camouflage.detection.detectors import Found
from services.security.camouflage.measurement.conditions import FIELD_OF_VIEW
from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.optimisation import jobs
from services.security.camouflage.optimisation.parts import Beginning, Begun, Parts, VictimDigests
from services.security.camouflage.optimisation.rendering.renderer import FrameBatch
from services.security.camouflage.optimisation.rendering.textures import LevelStack
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.frames import make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS, make_daylight
from services.security.camouflage.reporting import results
from services.security.camouflage.reporting.report import CamouflageReport
from services.security.camouflage.reporting.results import CamouflageResult
from services.security.camouflage.schemas import CamouflageOptions, CamouflageTask
from services.security.camouflage.textures.paints import plain_texture
from shared.jobs.context import JobContext
from shared.jobs.interrupts import GivenBack
from shared.runtime.cards import ModelReference
from shared.storage.blobs import BlobStore
from tests.support.capability import png
from tests.unit.services.security.camouflage.posted import write_box

OPTIONS = CamouflageOptions(
    paint="#ffffff", steps=8, batch=2, scenes=4, lights=1, side=96, texture_side=128, azimuths=4, distance_from=7,
    distance_to=9, elevation_from=10, elevation_to=30,
)  # fmt: skip
VICTIM = ModelReference(name="brightness", version="1.0.0", weights_sha256="1" * 64)
OTHER = ModelReference(name="strict", version="1.0.0", weights_sha256="2" * 64)
BRIGHT = 0.3


@dataclass(frozen=True)
class Report:
    losses: dict[str, float]
    score: float


class Descent:
    """Two frames from opposite corners, and descent along the sign of the gradient of their mean brightness."""

    def __init__(self, beginning: Beginning, *, diverges_at: int = -1) -> None:
        plan, side = beginning.plan, beginning.plan.texture_side
        maps, frames = map_atlas(beginning.mesh, side, side), []
        for azimuth in (40, 220):
            camera = Camera(azimuth, 25, 8, FIELD_OF_VIEW, plan.views.side, plan.views.side)
            scene = make_scene(beginning.mesh, camera, (side, side))
            dark = np.full((plan.views.side, plan.views.side, 3), 0.05, np.float32)
            frames.append(make_frame(scene, make_daylight(60, 50), MATERIALS, dark))
        self._batch = FrameBatch(frames, LevelStack(maps.mask))
        self._texture = torch.from_numpy(plain_texture(plan.paint, side)).permute(2, 0, 1).contiguous()
        self._diverges_at, self.step_number = diverges_at, 0

    def step(self) -> Report:
        texture = self._texture.clone().requires_grad_()
        loss = self._batch.render(texture).mean()
        (gradient,) = torch.autograd.grad(loss, texture)
        with torch.no_grad():
            self._texture = (texture - 0.12 * gradient.sign()).clamp(0, 1)
        if self.step_number + 1 == self._diverges_at:
            require_finite(float("nan"))
        self.step_number += 1
        return Report({"hide": loss.item()}, min(1.0, 2 * loss.item()))

    def texture(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._texture.permute(1, 2, 0).numpy())

    def state(self) -> bytes:
        content = io.BytesIO()
        torch.save({"texture": self._texture, "step": self.step_number}, content)
        return content.getvalue()

    def restore(self, state: bytes) -> None:
        found = torch.load(io.BytesIO(state), weights_only=True)
        self._texture, self.step_number = found["texture"], found["step"]


@dataclass(frozen=True)
class Brightness:
    """Finds the box around what is bright, the surer the brighter it is."""

    name: str
    least: float = BRIGHT

    def find(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Found]:
        return [self._find(picture.mean(axis=2) / 255) for picture in pictures]

    def _find(self, grey: NDArray[np.floating]) -> Found:
        rows, columns = np.nonzero(grey > self.least)
        if not len(rows):
            return Found(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        score = grey[rows, columns].mean()
        return Found(np.array([box], np.float32), np.array([score], np.float32))


class Context:
    """A job context that remembers, and is interrupted at a step."""

    job_id = "01a22742-48ab-7c77-b7e9-d91f58543d76"

    def __init__(
        self, blobs: BlobStore, *, until: int | None = None, error: type[BaseException] = GivenBack, **more: Any
    ) -> None:
        self.blobs, self.until, self.error = blobs, until, error
        self.checkpoints = 0
        self.steps: list[int] = []
        self.total: int | None = None
        self.messages: list[str] = []
        self.previews: list[bytes] = []
        self.saved: bytes | None = None
        self.arguments = task(blobs, **more)

    def progress(self, step: int, total: int | None = None, message: str = "") -> None:
        if step == self.until:
            raise self.error
        assert total is not None
        assert 0 <= step <= total
        self.steps.append(step)
        self.total = total
        self.messages.append(message)

    def preview(self, data: bytes, media_type: str) -> None:
        assert media_type == "image/png"
        self.previews.append(data)

    def checkpoint(self, state: bytes) -> None:
        self.saved, self.checkpoints = state, self.checkpoints + 1

    def restore(self) -> bytes | None:
        return self.saved

    def log(self, message: str) -> None:
        self.messages.append(message)

    def raise_if_cancelled(self) -> None:
        """Never while something is waited for."""


def task(blobs: BlobStore, **more: Any) -> dict[str, Any]:
    dark = [blobs.put(png(np.full((48, 64, 3), 8 + number, np.uint8))).digest for number in range(5)]
    mesh = blobs.put(write_box()).digest
    made = CamouflageTask(options=OPTIONS, victim=VICTIM, transfer=[OTHER], mesh=mesh, backgrounds=dark, **more)
    return made.model_dump(mode="json")


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Few pictures."""
    patch.setattr(jobs, "SAVED_EVERY", 3)
    patch.setattr(jobs, "LOOKS", 2)
    patch.setattr(results, "FRAMES", 3)
    patch.setattr(results, "PICTURES", 6)


UNCHANGED = VictimDigests("3" * 64, "4" * 64)


def run(
    context: Context,
    begin: Callable[[Beginning], Descent] = Descent,
    digests: Callable[[], VictimDigests] = lambda: UNCHANGED,
) -> CamouflageResult:
    parts = Parts(
        lambda beginning: Begun(begin(beginning), digests),
        lambda model: Brightness(model.name, BRIGHT if model == VICTIM else 0.9),
    )
    return CamouflageResult.model_validate(jobs.work(cast("JobContext", context), parts))


def report_of(result: CamouflageResult) -> CamouflageReport:
    return CamouflageReport.model_validate(result.report)


def file_of(context: Context, result: CamouflageResult, name: str) -> bytes:
    return context.blobs.get(result.files[name].digest)
