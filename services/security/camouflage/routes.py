"""Camouflages over HTTP: ask what one costs, run it as a job, see which detectors elsewhere may be tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request, Response

from services.security.camouflage.backgrounds import unpack_backgrounds
from services.security.camouflage.capability import CAMOUFLAGES, ENDPOINTS_PATH, PATH
from services.security.camouflage.costs import cost_of
from services.security.camouflage.detection.fleet_detectors import FleetDetectors
from services.security.camouflage.detection.transfers import PREFIX, Transfers, read_transfers, use_endpoint
from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.planning.subjects import find_subject, require_distance
from services.security.camouflage.reporting.notices import SIMULATION
from services.security.camouflage.schemas import (
    CamouflageCost,
    CamouflageForm,
    CamouflageOptions,
    CamouflageTask,
    EndpointsAnswer,
    EndpointView,
)
from services.security.camouflage.settings import CamouflageSettings
from services.security.camouflage.textures.covers import CoverTooLarge, make_cover
from services.security.camouflage.textures.posted_textures import TEXTURE_POINTER, read_texture
from shared.access.audit import AUDIT_NOTE_HEADER
from shared.http.route_parts import POST_PROBLEMS, WaitPreference
from shared.http.uploads import UploadRoute, read_upload
from shared.jobs.answers import JOB_RESPONSES, JobView
from shared.jobs.creation import create_job_of_files
from shared.problems import field_problem
from shared.service import Service, ServiceState, state_of
from shared.telemetry.timing import timed

router = APIRouter(tags=["camouflage"], route_class=UploadRoute)

CamouflageForms = Annotated[CamouflageForm, Form(media_type="multipart/form-data")]
Detectors = Annotated[FleetDetectors, Depends(state_of(FleetDetectors))]


@dataclass(frozen=True, slots=True)
class _Planned:
    """A request that was read."""

    options: CamouflageOptions
    transfers: Transfers
    mesh: bytes | None
    texture: bytes | None
    backgrounds: list[bytes]
    cost: CamouflageCost


@router.post(
    PATH,
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
    Tests are for owners: detectors of this fleet, or elsewhere those alone that its operator has registered with the
    owner's statement, which the audit log repeats. Simulation only.
    """
    del prefer  # documented here, read with all its repetitions by the job's answer
    planned = await _plan(form, service, detectors)
    if planned.cost.advice is not None:
        raise field_problem(f"/body/{planned.cost.field}", planned.cost.advice)
    posted = {name: data for name in ("mesh", "texture") if (data := getattr(planned, name)) is not None}
    queries = {one.name: one.queries for one in planned.cost.endpoints}

    def arguments(digests: list[str]) -> CamouflageTask:
        return CamouflageTask(
            options=planned.options,
            victim=planned.cost.victim,
            transfer=planned.cost.transfer,
            endpoints=[use_endpoint(one, pictures=queries[PREFIX + one.name]) for one in planned.transfers.endpoints],
            backgrounds=digests[len(posted) :],
            **dict(zip(posted, digests, strict=False)),
        )

    answer = await create_job_of_files(
        request,
        CAMOUFLAGES,
        [*posted.values(), *planned.backgrounds],
        arguments,
        jobs=service.jobs,
        blobs=service.blobs,
    )
    answer.headers["Facet-Notice"] = SIMULATION
    if planned.transfers.note is not None:
        answer.headers[AUDIT_NOTE_HEADER] = quote(planned.transfers.note)
    return answer


@router.post(f"{PATH}/estimates", summary="Ask what a camouflage costs", responses=POST_PROBLEMS)
async def estimate_camouflage(form: CamouflageForms, service: Service, detectors: Detectors) -> CamouflageCost:
    """Say how many pictures are rendered and shown to detectors, and about how long that takes, without starting."""
    return (await _plan(form, service, detectors)).cost


@router.get(ENDPOINTS_PATH, summary="List detectors elsewhere that may be tested")
async def list_endpoints() -> EndpointsAnswer:
    """Detectors that the operator has registered, with the statement of who owns them.

    There is no way to register one over HTTP: `FACET_CAMOUFLAGE_ENDPOINTS` of the security service names them.
    """
    registered = sorted(CamouflageSettings().endpoints, key=lambda one: one.name)
    views = [EndpointView.model_validate(one, from_attributes=True) for one in registered]
    return EndpointsAnswer(endpoints=views)


async def _plan(form: CamouflageForm, service: ServiceState, detectors: FleetDetectors) -> _Planned:
    options, settings = form.options(), CamouflageSettings()
    options.plan()  # a range that is wrong is said before anything is looked for
    if form.texture is not None and options.pattern != "pixels":
        raise field_problem(
            "/body/texture", f"Only `pixels` begin with a texture; `{options.pattern}` makes its own. Leave it out."
        )
    transfers = read_transfers(options.transfer, settings)
    victim = await detectors.victim(options.victim)
    transfer = await detectors.transfers(transfers.models, victim=options.victim)
    if options.pattern == "ddpm":
        await detectors.require_prior()
    mesh, texture, files = await _read_files(form, limit=settings.upload_limit_bytes)
    look_through = partial(
        _look_through, options, mesh, texture, files, settings=settings, pixel_limit=service.settings.pixel_limit
    )
    backgrounds = await service.compute_pool.run(look_through)
    cost = cost_of(
        options,
        settings,
        victim=victim.card,
        transfer=[one.card for one in transfer],
        endpoints=transfers.endpoints,
    )
    return _Planned(options, transfers, mesh, texture, backgrounds, cost)


async def _read_files(form: CamouflageForm, *, limit: int) -> tuple[bytes | None, bytes | None, list[bytes]]:
    """Mesh, texture and backgrounds, as they were posted."""
    with timed("pre"):
        mesh = None if form.mesh is None else await read_upload(form.mesh, limit=limit, pointer="/body/mesh")
        texture = None if form.texture is None else await read_upload(form.texture, pointer=TEXTURE_POINTER)
        files = [
            await read_upload(one, limit=limit, pointer=f"/body/background/{place}")
            for place, one in enumerate(form.background)
        ]
    return mesh, texture, files


def _look_through(
    options: CamouflageOptions,
    mesh: bytes | None,
    texture: bytes | None,
    files: Sequence[bytes],
    *,
    settings: CamouflageSettings,
    pixel_limit: int,
) -> list[bytes]:
    """Find now what would end the job; the background pictures, unpacked.

    Raises:
        Problem: a file cannot be used, a camera would stand inside of the mesh, or stickers do not fit.
    """
    if texture is not None:
        read_texture(texture, options.texture_side, pixel_limit=pixel_limit, pointer=TEXTURE_POINTER)
    subject, plan = find_subject(options, mesh), options.plan()
    require_distance(subject, plan.views.distance_m[0], pointer="/body/distance_from")
    try:
        make_cover(subject.mesh, map_atlas(subject.mesh, plan.texture_side, plan.texture_side), plan.cover)
    except CoverTooLarge as problem:
        raise field_problem(
            "/body/share",
            f"{', '.join(plan.cover.places)} hold {problem.largest:.2f} of the paint: lower `share` or add `places`.",
        ) from None
    return unpack_backgrounds(files, limit=settings.backgrounds_limit)
