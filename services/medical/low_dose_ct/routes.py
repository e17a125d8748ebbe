"""Low-dose CT over HTTP: reconstruct sinograms, enhance slices, simulate low-dose scans.

One file is answered at once; several files, or a ZIP of them, or `Prefer: respond-async`, make a job.
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from services.medical.low_dose_ct.answers import warnings
from services.medical.low_dose_ct.capability import CT_ENHANCEMENT_SERIES, CT_RECONSTRUCTION_SERIES
from services.medical.low_dose_ct.inference import Denoising, Image, put_part
from services.medical.low_dose_ct.inputs import read_slice
from services.medical.low_dose_ct.pipelines import EnhancementPipeline, Pipeline, Prepared, ReconstructionPipeline
from services.medical.low_dose_ct.scans import SCAN_COST, simulate
from services.medical.low_dose_ct.schemas import (
    DISCLAIMER,
    EnhancementAnswer,
    EnhancementForm,
    EnhancementOptions,
    ReconstructionAnswer,
    ReconstructionForm,
    ReconstructionOptions,
    SimulationAnswer,
    SimulationForm,
    SimulationOptions,
)
from services.medical.low_dose_ct.series import create_series_job
from shared.answers.representations import LinkedAnswer, Representations, Wish, respond
from shared.http.files import FILE_HEADERS
from shared.http.image_bodies import ImageForm, Posted, image_route
from shared.http.negotiation import DICOM, JSON, NPY, PNG, accept_of, choose_media_type
from shared.http.route_parts import POST_PROBLEMS, PREFER, binary_content
from shared.imaging.signatures import MediaType
from shared.imaging.sizes import stated_pixels
from shared.imaging.windows import parse_window
from shared.jobs.answers import JOB_RESPONSES, JobView
from shared.jobs.creation import wants_job
from shared.jobs.kinds import JobKind
from shared.problems import ContentTooLarge, field_problem
from shared.runtime.models.sessions import OnnxModel
from shared.service import ServiceState, service_state
from shared.telemetry.timing import timed

router = APIRouter(prefix="/v1/medical/ct", tags=["low-dose CT"])

Options = TypeVar("Options", bound=BaseModel)

IMAGE_TYPES = (JSON, PNG, NPY, DICOM)
SINOGRAM_TYPES = (JSON, NPY, PNG)

LARGEST_DIRECT_PIXELS = 4096 * 4096
"""Half a minute of the network on two cores, while the gateway waits for two; whatever takes longer is for jobs."""

_IMAGE_ANSWERS = {
    "content": binary_content(PNG, NPY, DICOM),
    "headers": FILE_HEADERS,
    "description": "The slice; or, where the request made a job and waited for its end, the finished job",
}
_SINOGRAM_ANSWERS = {"content": binary_content(NPY, PNG), "headers": FILE_HEADERS, "description": "The scan"}

_HEADERS = {
    "accept": "application/json describes the answer; the other types are the image",
    "prefer": PREFER,
}

_SLICES = (MediaType.DICOM, MediaType.NPY, MediaType.PNG)
RECONSTRUCTION = ImageForm(ReconstructionOptions, ReconstructionForm, (MediaType.NPY, MediaType.ZIP))
ENHANCEMENT = ImageForm(EnhancementOptions, EnhancementForm, (*_SLICES, MediaType.ZIP))
SIMULATION = ImageForm(SimulationOptions, SimulationForm, _SLICES)


@image_route(
    router,
    "/reconstructions",
    RECONSTRUCTION,
    headers=_HEADERS,
    summary="Reconstruct a low-dose sinogram",
    response_model=ReconstructionAnswer | JobView,
    responses={200: _IMAGE_ANSWERS, **JOB_RESPONSES, **POST_PROBLEMS},
)
async def reconstruct_sinogram(request: Request, posted: Posted[ReconstructionOptions]) -> Response:
    """Filtered back-projection, then the network: one pass, no iterations.

    Post the sinogram as NPY of shape (angles, detectors). The defaults are LoDoPaB-CT's geometry. Several files or a
    ZIP become a job with progress per slice.
    """
    service, options, settings = service_state(request), posted.options, service_state(request).settings
    model = service.models.get(options.model) if options.denoise else None
    pipeline = ReconstructionPipeline(options, model, settings.pixel_limit, settings.inference_threads)
    return await _answer(request, posted, pipeline, CT_RECONSTRUCTION_SERIES, name="reconstruction")


@image_route(
    router,
    "/enhancements",
    ENHANCEMENT,
    headers=_HEADERS,
    summary="Enhance a low-dose CT slice",
    response_model=EnhancementAnswer | JobView,
    responses={200: _IMAGE_ANSWERS, **JOB_RESPONSES, **POST_PROBLEMS},
)
async def enhance_slice(request: Request, posted: Posted[EnhancementOptions]) -> Response:
    """Denoise a slice that was reconstructed elsewhere: DICOM, NPY or PNG, of any size.

    A DICOM answer is a derived object with new UIDs that keeps the rescale of the original. Several files or a ZIP
    become a job with progress per slice.
    """
    service = service_state(request)
    pipeline = EnhancementPipeline(
        posted.options, service.models.get(posted.options.model), service.settings.pixel_limit
    )
    return await _answer(request, posted, pipeline, CT_ENHANCEMENT_SERIES, name="enhancement")


@image_route(
    router,
    "/simulations",
    SIMULATION,
    headers={"accept": _HEADERS["accept"]},
    summary="Simulate a low-dose scan",
    response_model=SimulationAnswer,
    responses={200: _SINOGRAM_ANSWERS, **POST_PROBLEMS},
)
async def simulate_scan(request: Request, posted: Posted[SimulationOptions]) -> Response:
    """Scan a normal-dose slice, or a generated phantom, with LoDoPaB-CT's physics.

    The slice is upsampled to 1000x1000, projected along 1000 x 513 rays, and Poisson counts of the stated photons
    are drawn before the logarithm. A slice of 512x512 is cut to its middle 362x362, as LoDoPaB-CT does; rows and
    columns are kept (LoDoPaB-CT transposes), so that a reconstruction comes back the way up that the slice was.
    """
    service, options = service_state(request), posted.options
    wish = Wish.of(choose_media_type(accept_of(request.headers), SINOGRAM_TYPES), options.store)
    window = parse_window(options.window, pointer="/body/window")
    data = await posted.files[0].read() if posted.files else None

    def work() -> Representations:
        with timed("pre"):
            limit = service.settings.pixel_limit
            hu = None if data is None else read_slice(data, unit=options.unit, window=window, pixel_limit=limit).hu
        simulation = simulate(hu, options, threads=service.settings.inference_threads)
        return Representations(
            describe=lambda: simulation.answer(options),
            encode=lambda media_type: simulation.encode(media_type, options),
            name="sinogram",
            notice=DISCLAIMER,
        )

    async with service.compute_pool.admit(cost=SCAN_COST + (stated_pixels(data) if data else 0)) as admission:
        return await respond(work, wish, files=service.answer_files, run=admission.run)


async def _answer(
    request: Request, posted: Posted[Options], pipeline: Pipeline, kind: JobKind, *, name: str
) -> Response:
    """Make a job of a series; of one file, the answer."""
    media_type = choose_media_type(accept_of(request.headers), IMAGE_TYPES)
    parse_window(pipeline.options.window, pointer="/body/window")
    service = service_state(request)
    wish = Wish.of(media_type, pipeline.options.store)
    if await wants_job(request, posted.files):
        _refuse_in_series(posted, wish)
        return await create_series_job(request, service, kind, posted.files, posted.options, media_type)
    with timed("pre"):
        data = await posted.files[0].read(pointer="/body/file")
        reference = await posted.others["reference"].read() if "reference" in posted.others else None
    async with service.compute_pool.admit(cost=pipeline.cost(data)) as admission:
        prepared = await admission.run(pipeline.prepare, data)
        clean = None
        if pipeline.model is not None and prepared.denoising is not None:
            clean = await _denoise(service, pipeline.model, prepared.denoising)
        work = partial(_represent, pipeline, prepared, clean, reference, name)
        return await respond(work, wish, files=service.answer_files, run=admission.run)


async def _denoise(service: ServiceState, model: OnnxModel, plan: Denoising) -> Image | None:
    """The network's answer; part by part, so that others get their turn and a caller who left ends it.

    Raises:
        ContentTooLarge: it takes longer than anybody should wait for an answer.
        CallerGone: the caller went away.
    """
    if plan.parts and plan.image.size > LARGEST_DIRECT_PIXELS:
        rows, columns = plan.image.shape
        raise ContentTooLarge(
            f"A slice of {rows}x{columns} takes minutes. Send `Prefer: respond-async`, which makes a job of it, or "
            f"post at most {LARGEST_DIRECT_PIXELS} pixels."
        )
    clean: Image | None = None
    for part in plan.parts:
        outputs = await service.batchers.infer(model, plan.inputs(part))
        clean = put_part(clean, plan, part, outputs)
    return clean


def _represent(
    pipeline: Pipeline, prepared: Prepared, clean: Image | None, reference: bytes | None, name: str
) -> Representations:
    """The slice, to be described or written as a file."""
    processed = pipeline.finish(prepared, clean)
    result = processed.result

    def describe() -> LinkedAnswer:
        compared = None if reference is None else pipeline.read_reference(reference, processed)
        return pipeline.describe(processed, compared)

    return Representations(
        describe=describe,
        encode=lambda media_type: pipeline.encode(processed, media_type),
        name=name,
        model=result.model,
        notice=" ".join([DISCLAIMER, *warnings(result)]),
    )


def _refuse_in_series(posted: Posted[Options], wish: Wish) -> None:
    """Refuse what a job does not do; to drop it silently would look like an answer without it.

    Raises:
        UnprocessableContent: a reference was posted, or files are to be stored that are none of the job's own.
    """
    if "reference" in posted.others:
        raise field_problem("/body/reference", "A series is not compared with a reference. Post the slices one by one.")
    if wish.stored:
        raise field_problem(
            "/body/store", "A series is a job, which keeps every slice in the format that Accept names."
        )
