"""Low-dose CT over HTTP: reconstruct sinograms, enhance slices, simulate low-dose scans.

One file is answered at once; several files, or a ZIP of them, or `Prefer: respond-async`, make a job.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Header, Request, Response, UploadFile
from pydantic import BaseModel

from services.medical.kinds import CT_ENHANCEMENT_SERIES, CT_RECONSTRUCTION_SERIES
from services.medical.low_dose_ct.inputs import read_slice
from services.medical.low_dose_ct.pipelines import EnhancementPipeline, Pipeline, Processed, ReconstructionPipeline
from services.medical.low_dose_ct.scans import SCAN_COST, simulate
from services.medical.low_dose_ct.schemas import (
    DISCLAIMER,
    EnhancementAnswer,
    EnhancementForm,
    ReconstructionAnswer,
    ReconstructionForm,
    SimulationAnswer,
    SimulationForm,
)
from services.medical.low_dose_ct.series import create_series_job, wants_job
from shared.http.files import FILE_HEADERS, file_response
from shared.http.negotiation import DICOM, JSON, NPY, PNG, choose_media_type
from shared.http.uploads import UploadRoute, read_upload
from shared.imaging.sizes import stated_pixels
from shared.imaging.windows import parse_window
from shared.jobs.answers import JobView
from shared.problems import (
    BadRequest,
    ContentTooLarge,
    NotAcceptable,
    ServiceUnavailable,
    TooManyRequests,
    UnprocessableContent,
    UnsupportedMediaType,
    field_problem,
    problem_responses,
)
from shared.service import Service, ServiceState
from shared.telemetry.timing import timed

router = APIRouter(prefix="/v1/medical/ct", tags=["low-dose CT"], route_class=UploadRoute)

IMAGE_TYPES = (JSON, PNG, NPY, DICOM)
SINOGRAM_TYPES = (JSON, NPY, PNG)

_PROBLEMS = problem_responses(
    BadRequest, NotAcceptable, ContentTooLarge, UnsupportedMediaType, UnprocessableContent, ServiceUnavailable
)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_IMAGE_ANSWERS = {
    "content": {PNG: _BINARY, NPY: _BINARY, DICOM: _BINARY},
    "headers": FILE_HEADERS,
    "description": "The slice; or, where the request made a job and waited for its end, the finished job",
}
_SINOGRAM_ANSWERS = {"content": {NPY: _BINARY, PNG: _BINARY}, "headers": FILE_HEADERS, "description": "The scan"}
_JOB_ANSWERS: dict[int | str, dict[str, Any]] = {
    202: {"model": JobView, "description": "A series was taken as a job; Location says where to follow it"},
    **problem_responses(TooManyRequests),
}

Accept = Annotated[
    str | None, Header(description="application/json describes the answer; the other types are the image")
]

Prefer = Annotated[
    str | None,
    Header(
        description="`respond-async` makes a job of one file too; `wait=N` waits N seconds for a job (RFC 7240)",
        examples=["wait=30"],
    ),
]
"""Read by `preferences_of`; a parameter so that it is documented."""


@router.post(
    "/reconstructions",
    summary="Reconstruct a low-dose sinogram",
    response_model=ReconstructionAnswer | JobView,
    responses={200: _IMAGE_ANSWERS, **_JOB_ANSWERS, **_PROBLEMS},
)
async def reconstruct_sinogram(
    request: Request,
    form: Annotated[ReconstructionForm, Form(media_type="multipart/form-data")],
    service: Service,
    accept: Accept = None,
    prefer: Prefer = None,
) -> Response | BaseModel:
    """Filtered back-projection, then the network: one pass, no iterations.

    Post the sinogram as NPY of shape (angles, detectors). The defaults are LoDoPaB-CT's geometry. Several files or a
    ZIP become a job with progress per slice.
    """
    media_type = choose_media_type(accept, IMAGE_TYPES)
    options = form.options
    parse_window(options.window, pointer="/body/window")
    model = service.models.get(options.model) if options.denoise else None
    if await wants_job(request, form.file):
        _refuse_reference(form.reference)
        return await create_series_job(request, service, CT_RECONSTRUCTION_SERIES, form.file, options, media_type)
    settings = service.settings
    pipeline = ReconstructionPipeline(options, model, settings.pixel_limit, settings.inference_threads)
    data, reference = await _read_both(form.file[0], form.reference)

    return await _answer(service, pipeline, data, reference, media_type=media_type, name="reconstruction")


@router.post(
    "/enhancements",
    summary="Enhance a low-dose CT slice",
    response_model=EnhancementAnswer | JobView,
    responses={200: _IMAGE_ANSWERS, **_JOB_ANSWERS, **_PROBLEMS},
)
async def enhance_slice(
    request: Request,
    form: Annotated[EnhancementForm, Form(media_type="multipart/form-data")],
    service: Service,
    accept: Accept = None,
    prefer: Prefer = None,
) -> Response | BaseModel:
    """Denoise a slice that was reconstructed elsewhere: DICOM, NPY or PNG, of any size.

    A DICOM answer is a derived object with new UIDs that keeps the rescale of the original. Several files or a ZIP
    become a job with progress per slice.
    """
    media_type = choose_media_type(accept, IMAGE_TYPES)
    options = form.options
    parse_window(options.window, pointer="/body/window")
    model = service.models.get(options.model)
    if await wants_job(request, form.file):
        _refuse_reference(form.reference)
        return await create_series_job(request, service, CT_ENHANCEMENT_SERIES, form.file, options, media_type)
    pipeline = EnhancementPipeline(options, model, service.settings.pixel_limit)
    data, reference = await _read_both(form.file[0], form.reference)

    return await _answer(service, pipeline, data, reference, media_type=media_type, name="enhancement")


@router.post(
    "/simulations",
    summary="Simulate a low-dose scan",
    response_model=SimulationAnswer,
    responses={200: _SINOGRAM_ANSWERS, **_PROBLEMS},
)
async def simulate_scan(
    form: Annotated[SimulationForm, Form(media_type="multipart/form-data")], service: Service, accept: Accept = None
) -> Response | SimulationAnswer:
    """Scan a normal-dose slice, or a generated phantom, with LoDoPaB-CT's physics.

    The slice is upsampled to 1000x1000, projected along 1000 x 513 rays, and Poisson counts of the stated photons
    are drawn before the logarithm. A slice of 512x512 is cut to its middle 362x362, as LoDoPaB-CT does; rows and
    columns are kept (LoDoPaB-CT transposes), so that a reconstruction comes back the way up that the slice was.
    """
    media_type = choose_media_type(accept, SINOGRAM_TYPES)
    window = parse_window(form.window, pointer="/body/window")
    data = None if form.file is None else await read_upload(form.file)

    def work() -> Response | SimulationAnswer:
        with timed("pre"):
            limit = service.settings.pixel_limit
            posted = None if data is None else read_slice(data, unit=form.unit, window=window, pixel_limit=limit).hu
        simulation = simulate(posted, form, threads=service.settings.inference_threads)
        with timed("post"):
            if media_type == JSON:
                return simulation.answer(form)
            return file_response(simulation.encode(media_type, form), media_type, name="sinogram", notice=DISCLAIMER)

    async with service.compute_pool.admit(cost=SCAN_COST + (stated_pixels(data) if data else 0)) as admission:
        return await admission.run(work)


async def _answer(
    service: ServiceState, pipeline: Pipeline, data: bytes, reference: bytes | None, *, media_type: str, name: str
) -> Response | BaseModel:
    """One posted file worked on: decoded in a thread, through the network in a batch, encoded in a thread."""
    async with service.compute_pool.admit(cost=pipeline.cost(data)) as admission:
        decoded = await admission.run(pipeline.decode, data)
        model, outputs = pipeline.model, None
        if model is not None:
            outputs = await service.batchers.infer(model, pipeline.network_inputs(decoded))
        processed = pipeline.finish(decoded, outputs)
        return await admission.run(_encode, pipeline, processed, reference, media_type, name)


def _encode(
    pipeline: Pipeline, processed: Processed, reference: bytes | None, media_type: str, name: str
) -> Response | BaseModel:
    """The slice described in JSON, or as a file."""
    if media_type == JSON:
        compared = None if reference is None else pipeline.read_reference(reference, processed)
        return pipeline.describe(processed, compared)
    content = pipeline.encode(processed, media_type)
    return file_response(content, media_type, name=name, model=processed.result.model, notice=DISCLAIMER)


def _refuse_reference(reference: UploadFile | None) -> None:
    """A job compares nothing; to drop the reference silently would look like an answer without a comparison."""
    if reference is not None:
        raise field_problem("/body/reference", "A series is not compared with a reference. Post the slices one by one.")


async def _read_both(file: UploadFile, reference: UploadFile | None) -> tuple[bytes, bytes | None]:
    with timed("pre"):
        data = await read_upload(file)
        return data, None if reference is None else await read_upload(reference, pointer="/body/reference")
