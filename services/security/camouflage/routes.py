"""Camouflages over HTTP: ask what one costs, and run it as a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from services.security.camouflage.backgrounds import unpack_backgrounds
from services.security.camouflage.capability import CAMOUFLAGES, PATH
from services.security.camouflage.costs import cost_of
from services.security.camouflage.covers import CoverTooLarge, make_cover
from services.security.camouflage.fleet_detectors import FleetDetectors
from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.notices import SIMULATION
from services.security.camouflage.schemas import (
    CamouflageCost,
    CamouflageForm,
    CamouflageOptions,
    CamouflageTask,
)
from services.security.camouflage.settings import CamouflageSettings
from services.security.camouflage.subjects import find_subject, require_distance
from shared.http.route_parts import POST_PROBLEMS, WaitPreference
from shared.http.uploads import UploadRoute, read_upload
from shared.jobs.answers import JOB_RESPONSES, JobView
from shared.jobs.creation import create_job_of_files
from shared.problems import field_problem
from shared.service import Service, ServiceState, state_of
from shared.telemetry.timing import timed

router = APIRouter(prefix=PATH, tags=["camouflage"], route_class=UploadRoute)

CamouflageForms = Annotated[CamouflageForm, Form(media_type="multipart/form-data")]
Detectors = Annotated[FleetDetectors, Depends(state_of(FleetDetectors))]


@dataclass(frozen=True, slots=True)
class _Planned:
    """A request that was read."""

    options: CamouflageOptions
    mesh: bytes | None
    backgrounds: list[bytes]
    cost: CamouflageCost


@router.post(
    "",
    summary="Optimise a camouflage",
    status_code=202,
    response_model=JobView,
    responses={200: {"description": "The job ended while the caller waited"}, **JOB_RESPONSES, **POST_PROBLEMS},
)
async def create_camouflage(
    request: Request, form: CamouflageForms, service: Service, detectors: Detectors, prefer: WaitPreference = None
) -> Response:
    """Find paint under which a detector of vehicles does not find a simulated car, for the detector's owner (FPA).

    The texture of a car is optimised through a renderer and the victim's own gradients, over views, lights and
    backgrounds that are drawn anew in each step. What comes of it is measured on a grid of conditions that no step has
    seen, beside plain paint, a grey cover and a random texture of the same area, for the victim and for each detector
    in `transfer` by itself. The report says what to do about it, and comes with a set to harden the detector with.
    Simulation only.
    """
    del prefer  # documented here, read with all its repetitions by the job's answer
    planned = await _plan(form, service, detectors)
    if planned.cost.advice is not None:
        raise field_problem("/body/steps", planned.cost.advice)
    posted = [] if planned.mesh is None else [planned.mesh]

    def arguments(digests: list[str]) -> CamouflageTask:
        return CamouflageTask(
            options=planned.options,
            victim=planned.cost.victim,
            transfer=planned.cost.transfer,
            mesh=digests[0] if posted else None,
            backgrounds=digests[len(posted) :],
        )

    answer = await create_job_of_files(
        request, CAMOUFLAGES, [*posted, *planned.backgrounds], arguments, jobs=service.jobs, blobs=service.blobs
    )
    answer.headers["Facet-Notice"] = SIMULATION
    return answer


@router.post("/estimates", summary="Ask what a camouflage costs", responses=POST_PROBLEMS)
async def estimate_camouflage(form: CamouflageForms, service: Service, detectors: Detectors) -> CamouflageCost:
    """Say how many pictures are rendered and shown to detectors, and about how long that takes, without starting."""
    return (await _plan(form, service, detectors)).cost


async def _plan(form: CamouflageForm, service: ServiceState, detectors: FleetDetectors) -> _Planned:
    options, settings = form.options(), CamouflageSettings()
    options.plan()  # a range that is wrong is said before anything is looked for
    victim = await detectors.victim(options.victim)
    transfer = await detectors.transfers(options.transfer, victim=options.victim)
    if options.pattern == "ddpm":
        await detectors.require_prior()
    limit = settings.upload_limit_bytes
    with timed("pre"):
        mesh = None if form.mesh is None else await read_upload(form.mesh, limit=limit, pointer="/body/mesh")
        files = [
            await read_upload(one, limit=limit, pointer=f"/body/background/{place}")
            for place, one in enumerate(form.background)
        ]
    backgrounds = await service.compute_pool.run(_look_through, options, mesh, files, limit=settings.backgrounds_limit)
    cost = cost_of(options, settings, victim=victim.card, transfer=[one.card for one in transfer])
    return _Planned(options, mesh, backgrounds, cost)


def _look_through(options: CamouflageOptions, mesh: bytes | None, files: Sequence[bytes], *, limit: int) -> list[bytes]:
    """Find now what would end the job; the background pictures, unpacked.

    Raises:
        Problem: mesh or backgrounds cannot be used, a camera would stand inside of the mesh, or stickers do not fit.
    """
    subject, plan = find_subject(options, mesh), options.plan()
    require_distance(subject, plan.views.distance_m[0], pointer="/body/distance_from")
    try:
        make_cover(subject.mesh, map_atlas(subject.mesh, plan.texture_side, plan.texture_side), plan.cover)
    except CoverTooLarge as problem:
        raise field_problem(
            "/body/share",
            f"{', '.join(plan.cover.places)} hold {problem.largest:.2f} of the paint: lower `share` or add `places`.",
        ) from None
    return unpack_backgrounds(files, limit=limit)
