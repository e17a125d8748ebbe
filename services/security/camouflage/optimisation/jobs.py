"""The job of a camouflage: steps, then what detectors find in conditions that no step has seen, then the files.

It goes on from the last checkpoint after its worker was killed, and ends at the texture of an unbroken run. One that is
cancelled leaves the texture it has, with a report that says so.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.optimisation.divergence import Diverged
from services.security.camouflage.backgrounds import read_backgrounds
from services.security.camouflage.detection.asked_endpoints import AskedEndpoints, open_endpoints
from services.security.camouflage.detection.transfers import PREFIX
from services.security.camouflage.measurement.conditions import Condition
from services.security.camouflage.measurement.grids import HeldOutBackgrounds, deal_grid, divide_backgrounds
from services.security.camouflage.measurement.measuring import (
    Measured,
    Stage,
    compared_textures,
    measure,
    quantise,
    to_bytes,
)
from services.security.camouflage.meshes.atlas_maps import AtlasMaps, map_atlas
from services.security.camouflage.optimisation.assembly import fleet_parts
from services.security.camouflage.optimisation.parts import Beginning, Parts
from services.security.camouflage.optimisation.progress import Progress
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.planning.subjects import Subject, find_subject
from services.security.camouflage.rendering.frames import Frame, finish_frame
from services.security.camouflage.reporting.report import DetectorUsed
from services.security.camouflage.reporting.results import Outcome, drawn_pictures, write_partial, write_result
from services.security.camouflage.schemas import CamouflageTask
from services.security.camouflage.settings import CamouflageSettings
from services.security.camouflage.textures.covers import CoverMask, make_cover
from services.security.camouflage.textures.posted_textures import TEXTURE_POINTER, read_texture
from shared.http.negotiation import PNG
from shared.imaging.pictures import encode_png
from shared.jobs.context import JobContext
from shared.jobs.files import JobFiles
from shared.jobs.interrupts import JobCancelled
from shared.problems import UnprocessableContent
from shared.settings import get_settings

LOOKS: Final = 20
"""How often a preview is shown."""
SAVED_EVERY: Final = 20
"""Steps between checkpoints."""
MEASURED_EVERY: Final = 6
"""Conditions between checkpoints where no endpoint is asked; else there is one before each."""
_STEPS_SHARE: Final = 0.85
"""Of the limit of seconds that steps may take; the rest is for measuring."""
_PREVIEWED: Final = 2
"""Conditions of a preview."""
CANCELLED: Final = "It was cancelled."


def make_camouflage(context: JobContext) -> dict[str, Any]:
    """Make a camouflage with the detectors of this fleet.

    Raises:
        JobCancelled: with the texture so far, if a step was made.
        Conflict: the victim is not what it was.
        UnprocessableContent: the losses are no numbers any more, or an endpoint cannot be asked.
    """
    return work(context, fleet_parts(get_settings()))


def work(context: JobContext, parts: Parts) -> dict[str, Any]:
    """The same with given parts; see `make_camouflage`."""
    camouflage = _Camouflage.open(context)
    progress = camouflage.begin(parts)
    try:
        with camouflage.open_endpoints(progress) as endpoints:
            stopped = camouflage.step_through(progress)
            measured = camouflage.measure(progress, parts, endpoints)
        outcome = camouflage.outcome(progress)
        return write_result(JobFiles.of(context), outcome, measured, stopped=stopped, watch=camouflage.watch_pictures)
    except Diverged as diverged:
        raise UnprocessableContent(f"The run was stopped at step {progress.run.step_number + 1}. {diverged}") from None
    except JobCancelled:
        if not progress.run.step_number:
            raise
        partial = write_partial(JobFiles.of(context), camouflage.outcome(progress), stopped=CANCELLED)
        raise JobCancelled(result=partial) from None


@dataclass(slots=True)
class _Camouflage:
    """A job's arguments, read."""

    context: JobContext
    task: CamouflageTask
    plan: CamouflagePlan
    subject: Subject
    maps: AtlasMaps
    cover: CoverMask
    stage: Stage
    learned: list[NDArray[np.uint8]]
    grid: list[Condition]
    initial: NDArray[np.float32] | None

    @classmethod
    def open(cls, context: JobContext) -> _Camouflage:
        """Read what was posted."""
        task = CamouflageTask.model_validate(context.arguments)
        plan = task.options.plan()
        subject = find_subject(task.options, None if task.mesh is None else context.blobs.get(task.mesh))
        pictures = read_backgrounds([context.blobs.get(digest) for digest in task.backgrounds])
        learned, kept = divide_backgrounds(pictures)
        held_out = HeldOutBackgrounds(tuple(kept), task.options.horizon)
        maps = map_atlas(subject.mesh, plan.texture_side, plan.texture_side)
        return cls(
            context,
            task,
            plan,
            subject,
            maps,
            make_cover(subject.mesh, maps, plan.cover),
            Stage(subject.mesh, maps.mask, held_out, plan.views.side),
            learned,
            deal_grid(plan, azimuths=task.options.azimuths, backgrounds=len(held_out)),
            _initial(context, task),
        )

    @property
    def total(self) -> int:
        """Steps, conditions, and pictures of the files."""
        return self.plan.steps + len(self.grid) + drawn_pictures()

    def begin(self, parts: Parts) -> Progress:
        """The run, where the last checkpoint left it."""
        beginning = Beginning(
            self.plan, self.subject.mesh, self.task.victim, self.learned, self.task.options.horizon, self.initial
        )
        progress = Progress.start(parts.begin(beginning))
        saved = self.context.restore()
        if saved is not None:
            progress.restore(saved, self.grid)
            self.context.log(f"Going on from step {progress.run.step_number}.")
        return progress

    def step_through(self, progress: Progress) -> str | None:
        """Make the steps that are left; why there are fewer than planned, or None.

        Raises:
            UnprocessableContent: losses are no numbers.
        """
        run, plan = progress.run, self.plan
        limit_s = _STEPS_SHARE * CamouflageSettings().seconds_limit
        every, preview = max(1, plan.steps // LOOKS), _Preview(self.stage, self.grid)
        while run.step_number < plan.steps:
            if progress.seconds > limit_s:
                return f"Its time was up after {run.step_number} steps."
            began_s = time.monotonic()
            point = progress.note(run.step(), time.monotonic() - began_s)
            losses = ", ".join(f"{name} {value:.4g}" for name, value in point.losses.items())
            self.context.progress(point.step, self.total, f"best score {point.best_score:.3f}; {losses}")
            if point.step % every == 0 or point.step == plan.steps:
                self.context.preview(preview.draw(run.texture()), PNG)
            if point.step % SAVED_EVERY == 0 or point.step == plan.steps:
                self.context.checkpoint(progress.state())
        return None

    def open_endpoints(self, progress: Progress) -> AbstractContextManager[AskedEndpoints]:
        """The registered detectors of the task, seen to be there before any step is made."""
        return open_endpoints(
            self.task.endpoints, CamouflageSettings(), spent=progress.spent, watch=self.context.raise_if_cancelled
        )

    def measure(self, progress: Progress, parts: Parts, endpoints: AskedEndpoints) -> Measured:
        """Ask all detectors what they find, condition by condition, from where the last attempt was."""
        textures = self._textures(progress)

        def watch(done: int) -> None:
            if endpoints.budgets or (done and done % MEASURED_EVERY == 0):
                progress.spent = endpoints.reserve(len(textures))
                self.context.checkpoint(progress.state())
            self._watch_conditions(done)

        try:
            return measure(
                self.stage,
                self.grid,
                textures,
                {one.name: parts.detector(one) for one in (self.task.victim, *self.task.transfer)}
                | dict(endpoints.detectors),
                watch=watch,
                survey=progress.survey,
                elsewhere=endpoints.detectors.keys(),
            )
        finally:
            progress.spent = endpoints.spent

    def _textures(self, progress: Progress) -> dict[str, NDArray[np.float32]]:
        texture = quantise(progress.run.texture())
        return compared_textures(texture, self.cover.mask, self.plan.paint, seed=self.plan.seed)

    def outcome(self, progress: Progress) -> Outcome:
        """What there is.

        Raises:
            Conflict: the victim is not what it was.
        """
        used = [DetectorUsed(role="victim", model=self.task.victim)]
        used += [DetectorUsed(role="transfer", model=one) for one in self.task.transfer]
        used += [
            DetectorUsed(role="transfer", endpoint=one, spent=progress.spent.get(PREFIX + one.name, 0))
            for one in self.task.endpoints
        ]
        return Outcome(
            plan=self.plan,
            subject=self.subject,
            maps=self.maps,
            cover=self.cover,
            textures=self._textures(progress),
            stage=self.stage,
            detectors=used,
            backgrounds={"learned": len(self.learned), "held_out": len(self.stage.backgrounds)},
            steps=progress.summary(self.plan.steps),
            texture_sha256=None if self.task.texture is None else self.task.texture.removeprefix("sha256:"),
            victim=progress.check_victim(),
        )

    def watch_pictures(self, done: int) -> None:
        """Say how many pictures of the files are drawn."""
        first = self.plan.steps + len(self.grid)
        left = first + done < self.total
        self.context.progress(first + done, self.total, f"drawing picture {done + 1}" if left else "writing the report")

    def _watch_conditions(self, done: int) -> None:
        step = self.plan.steps + done
        self.context.progress(step, self.total, f"measuring condition {done + 1} of {len(self.grid)}")


def _initial(context: JobContext, task: CamouflageTask) -> NDArray[np.float32] | None:
    """The texture that is begun with."""
    if task.texture is None:
        return None
    limit = get_settings().pixel_limit
    return read_texture(
        context.blobs.get(task.texture), task.options.texture_side, pixel_limit=limit, pointer=TEXTURE_POINTER
    )


class _Preview:
    """Pictures of a few conditions with the texture of a moment, side by side."""

    def __init__(self, stage: Stage, grid: list[Condition]) -> None:
        self._stage = stage
        places = np.linspace(0, len(grid), _PREVIEWED, endpoint=False).astype(int)
        self._frames = [self._frame(grid[place]) for place in places]

    def draw(self, texture: NDArray[np.float32]) -> bytes:
        """As PNG."""
        pictures = [to_bytes(finish_frame(frame, texture, self._stage.mask)) for frame in self._frames]
        return encode_png(np.concatenate(pictures, axis=1))

    def _frame(self, condition: Condition) -> Frame:
        return self._stage.frame(self._stage.see(condition), condition)
