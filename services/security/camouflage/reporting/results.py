"""The files of a result: the texture, pictures of it, the report, and the set to harden a detector with.

The texture is stored without alpha, so that every program and `/renders` read the values that were measured;
`mask.png` says which of its texels are paint that was replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from services.security.camouflage.measurement.measuring import (
    Measured,
    Sight,
    Stage,
    grey_of,
    to_bytes,
)
from services.security.camouflage.meshes.atlas_maps import AtlasMaps
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.planning.subjects import Subject
from services.security.camouflage.reporting.advice import advise
from services.security.camouflage.reporting.hardening import PICTURES, make_hardening_set
from services.security.camouflage.reporting.notices import SIMULATION
from services.security.camouflage.reporting.report import (
    RESULT,
    THRESHOLDS,
    CamouflageReport,
    DetectorUsed,
    Steps,
    Surface,
    VictimCheck,
    conditions_of,
    rates_of,
)
from services.security.camouflage.reporting.report_page import loss_chart, report_page
from services.security.camouflage.reporting.turntables import FRAMES, WEBP, encode_webp, turn
from services.security.camouflage.textures.covers import CoverMask
from services.security.camouflage.textures.uv_previews import draw_uv_preview
from shared.http.negotiation import HTML, JSON, PNG, ZIP
from shared.imaging.charts import to_png
from shared.imaging.pictures import encode_png
from shared.imaging.sheets import Panel, sheet
from shared.jobs.files import JobFiles, StoredFile

Floats = NDArray[np.float32]

_SHOWN: Final = 4
"""Conditions that are shown."""


class CamouflageResult(BaseModel):
    """Result of the job."""

    notice: str = Field(description="What whoever sees the result must know")
    report: dict[str, Any] = Field(description="The report, as in report.json")
    files: dict[str, StoredFile] = Field(
        description="texture.png, mask.png, uv.png, turntable.webp, pictures.png, losses.png, report.json, "
        "report.html, hardening-set.zip; a run that was stopped has fewer"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a run has come to.

    Attributes:
        plan: of it.
        subject: what is painted.
        maps: of its atlas.
        cover: which texels the result replaces.
        textures: what is measured, by name: float32 (side, side, 3), sRGB in [0, 1], `result` among them.
        stage: what it is measured on.
        detectors: the victim first.
        backgrounds: pictures or streets that were `learned` with and `held_out`.
        steps: how the texture was made.
        texture_sha256: of the posted file that it began with.
        victim: digests of the victim, which have not changed.
    """

    plan: CamouflagePlan
    subject: Subject
    maps: AtlasMaps
    cover: CoverMask
    textures: Mapping[str, Floats]
    stage: Stage
    detectors: list[DetectorUsed]
    backgrounds: dict[str, int]
    steps: Steps
    texture_sha256: str | None
    victim: VictimCheck

    @property
    def texture(self) -> Floats:
        """The result, in steps of 1 / 255."""
        return self.textures[RESULT]


def report_of(outcome: Outcome, measured: Measured | None, *, stopped: str | None) -> CamouflageReport:
    """The report of what there is.

    Args:
        outcome: of the run.
        measured: under all conditions; None where it was stopped before.
        stopped: why it is not complete.
    """
    roles = {one.name: one.role for one in outcome.detectors}
    found = Measured([], 0) if measured is None else measured
    grey = grey_of(outcome.plan.paint)
    report = CamouflageReport(
        plan=outcome.plan,
        surface=_surface(outcome),
        detectors=[one.model_copy(update={"silent": found.silent.get(one.name)}) for one in outcome.detectors],
        backgrounds=outcome.backgrounds,
        steps=outcome.steps,
        texture_sha256=outcome.texture_sha256,
        victim_unchanged=outcome.victim,
        stopped=stopped,
        frames=len(found.sights),
        left_out=found.left_out,
        textures={
            "plain": "paint of {}, {}, {} everywhere".format(*outcome.plan.paint),
            "grey": f"grey of {grey} on the texels of the result",
            "random": "a random camouflage on the texels of the result",
            RESULT: "what was optimised",
        },
        rates=rates_of(found, roles),
        conditions=conditions_of(found, list(roles), threshold=THRESHOLDS[0]),
    )
    report.advice = advise(report)
    return report


def write_partial(files: JobFiles, outcome: Outcome, *, stopped: str) -> dict[str, Any]:
    """Store what takes no time, for a run that was stopped: texture, mask, atlas, report."""
    _write_texture(files, outcome)
    return _finish(files, report_of(outcome, None, stopped=stopped), [])


def drawn_pictures() -> int:
    """How many pictures `write_result` draws for turntable and hardening set."""
    return FRAMES + PICTURES


def write_result(
    files: JobFiles, outcome: Outcome, measured: Measured, *, stopped: str | None, watch: Callable[[int], None]
) -> dict[str, Any]:
    """Store everything.

    Args:
        files: of the job.
        outcome: of the run.
        measured: under all conditions.
        stopped: why there are fewer steps than planned.
        watch: called with how many pictures of turntable and hardening set are done, before each and after the last;
            may raise.
    """
    _write_texture(files, outcome)
    frames = turn(outcome.stage.mesh, outcome.texture, outcome.maps.mask, frames=FRAMES, watch=watch)
    files.put("turntable.webp", encode_webp(frames), WEBP)
    archive = make_hardening_set(
        outcome.stage,
        outcome.plan,
        outcome.texture,
        outcome.cover.mask,
        pictures=PICTURES,
        watch=lambda done: watch(len(frames) + done),
    )
    files.put("hardening-set.zip", archive, ZIP)
    watch(drawn_pictures())
    shown = _panels(outcome, measured)
    if shown:
        files.put("pictures.png", encode_png(sheet(shown, panel_side=outcome.stage.side)), PNG)
    pictures = [(encode_png(panel.pixels), panel.caption) for row in shown for panel in row]
    return _finish(files, report_of(outcome, measured, stopped=stopped), pictures)


def _write_texture(files: JobFiles, outcome: Outcome) -> None:
    files.put("texture.png", encode_png(to_bytes(outcome.texture)), PNG)
    files.put("mask.png", encode_png(outcome.cover.mask.astype(np.uint8) * np.uint8(255)), PNG)
    drawn = draw_uv_preview(outcome.texture, outcome.subject.mesh, outcome.maps)
    files.put("uv.png", encode_png(drawn), PNG)


def _finish(files: JobFiles, report: CamouflageReport, pictures: Sequence[tuple[bytes, str]]) -> dict[str, Any]:
    losses = loss_chart(report)
    if losses is not None:
        files.put("losses.png", to_png(losses), PNG)
    document = report.model_dump(mode="json")
    files.put("report.json", orjson.dumps(document, option=orjson.OPT_INDENT_2), JSON)
    files.put("report.html", report_page(report, losses=losses, pictures=pictures), HTML)
    return CamouflageResult(notice=SIMULATION, report=document, files=files.files).model_dump(mode="json")


def _panels(outcome: Outcome, measured: Measured) -> list[list[Panel]]:
    """A row for each of a few conditions, a column for each texture, with the victim's score below."""
    sights, victim = measured.sights, outcome.detectors[0].name
    places = sorted({int(place) for place in np.linspace(0, len(sights) - 1, _SHOWN)}) if sights else []
    return [_row(outcome, sights[place], victim) for place in places]


def _row(outcome: Outcome, sight: Sight, victim: str) -> list[Panel]:
    textures = outcome.textures
    scene = outcome.stage.see(sight.condition)
    painted = outcome.stage.paint(scene, sight.condition, list(textures.values()))
    return [
        Panel(picture, f"{name}: {sight.looks[victim][name].score:.2f}\n{sight.condition.light}")
        for name, picture in zip(textures, painted, strict=True)
    ]


def _surface(outcome: Outcome) -> Surface:
    mesh = outcome.subject.mesh
    painted = float(mesh.areas[mesh.paintable].sum())
    return Surface(
        car=outcome.subject.name,
        faces=len(mesh.faces),
        painted_m2=round(painted, 3),
        covered_m2=round(outcome.cover.share * painted, 3),
        covered_share=round(outcome.cover.share, 4),
        materials=outcome.subject.materials,
    )
