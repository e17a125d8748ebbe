"""Chest X-ray over HTTP: what frontal films show, and where a radiologist would look on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response

from services.medical.chest_xray import answers
from services.medical.chest_xray.answers import Judged
from services.medical.chest_xray.film_reading import FILM_TYPES, read_film
from services.medical.chest_xray.films import Film, Prepared
from services.medical.chest_xray.inference import read_films
from services.medical.chest_xray.models import ChestModel, ChestModels
from services.medical.chest_xray.prediction_sets import CalibrationClient
from services.medical.chest_xray.schemas import DISCLAIMER, DiagnosisAnswer, DiagnosisForm, DiagnosisOptions
from services.medical.chest_xray.screening import Screening, require_passed
from services.medical.chest_xray.series import create_series_job, wants_series_job
from shared.answers.representations import Representations, Wish, respond
from shared.http.files import FILE_HEADERS
from shared.http.image_bodies import ImageForm, Posted, image_route
from shared.http.negotiation import DICOM, JSON, NPY, PNG, accept_of, choose_media_type
from shared.http.route_parts import POST_PROBLEMS, PREFER, binary_content
from shared.imaging.signatures import MediaType
from shared.imaging.sizes import stated_pixels
from shared.jobs.answers import JOB_RESPONSES, JobView
from shared.problems import BadGateway, Conflict, GatewayTimeout, NotFound, field_problem, problem_responses
from shared.runtime.compute_pool import Admission
from shared.service import ServiceState, service_state
from shared.telemetry.timing import timed

router = APIRouter(prefix="/v1/medical/chest-xray", tags=["chest X-ray"])

TYPES: Final = (JSON, PNG, NPY, DICOM)
DIAGNOSIS: Final = ImageForm(DiagnosisOptions, DiagnosisForm, (*FILM_TYPES, MediaType.ZIP))

_models = ChestModels()

_ANSWERS = {
    "content": binary_content(PNG, NPY, DICOM),
    "headers": FILE_HEADERS,
    "description": "What the films show; or, where the request made a job and waited for its end, the finished job",
}


@image_route(
    router,
    "/diagnoses",
    DIAGNOSIS,
    headers={
        "accept": "application/json has the figures; image/png is the film with the map over it, application/x-npy "
        "the attention as an array, application/dicom an object that refers to the film",
        "prefer": PREFER,
    },
    summary="Diagnose frontal chest films, with predicted attention",
    response_model=DiagnosisAnswer | JobView,
    responses={
        200: _ANSWERS,
        **JOB_RESPONSES,
        **POST_PROBLEMS,
        **problem_responses(NotFound, Conflict, BadGateway, GatewayTimeout),
    },
)
async def diagnose_films(request: Request, posted: Posted[DiagnosisOptions]) -> Response:
    """Probabilities of normal, signs of heart failure and pneumonia, and where a radiologist would look.

    Post frontal films as DICOM, PNG or JPEG; what the model takes for something else is refused with its score. The
    attention comes in the film's own pixel grid: as figures, as an overlay, as an array, or as a DICOM object. It is
    predicted, not measured gaze. Research use only, not a medical device.
    """
    service, options = service_state(request), posted.options
    wish = Wish.of(choose_media_type(accept_of(request.headers), TYPES), options.store)
    model = _models.find(service.models, options.model)
    if await wants_series_job(request, posted.files, wish.media_type):
        return await create_series_job(request, service, posted, wish.media_type, model.reference)
    if wish.stored and len(posted.files) > 1:
        raise field_problem("/body/store", "Files are stored of one film at a time: post the films one by one.")
    with timed("pre"):
        files = [await file.read() for file in posted.files]
    async with service.compute_pool.admit(cost=sum(map(stated_pixels, files))) as admission:
        judged = await _judge(files, model, posted, service=service, admission=admission)

        def represent() -> Representations:
            return _represent(judged, model, options, wish)

        return await respond(represent, wish, files=service.answer_files, run=admission.run)


async def _judge(
    files: Sequence[bytes],
    model: ChestModel,
    posted: Posted[DiagnosisOptions],
    *,
    service: ServiceState,
    admission: Admission,
) -> list[Judged]:
    """Read films, screen them, and ask a calibration about them if one is named.

    Raises:
        UnprocessableContent: a file is no film, or no frontal chest film.
    """
    pointers = [f"/body/file/{index}" for index in range(len(files))]
    films = [
        await admission.run(_prepare, data, model, service.settings.pixel_limit, pointer)
        for data, pointer in zip(files, pointers, strict=True)
    ]
    readings = await read_films(films, model, batchers=service.batchers)
    screenings = [Screening.of(one, model.role) for one in readings]
    if posted.options.screen:
        require_passed(screenings, pointers)
    calibrations = service.states.get(CalibrationClient)
    sets = await calibrations.predict(readings, posted.options, model.reference)
    return [
        Judged(reading, screening, None if sets is None else sets[index])
        for index, (reading, screening) in enumerate(zip(readings, screenings, strict=True))
    ]


def _prepare(data: bytes, model: ChestModel, pixel_limit: int, pointer: str) -> tuple[Film, Prepared]:
    with timed("pre"):
        film = read_film(data, pixel_limit=pixel_limit, pointer=pointer)
        return film, film.prepare(model.role.size)


def _represent(judged: Sequence[Judged], model: ChestModel, options: DiagnosisOptions, wish: Wish) -> Representations:
    answers.require_writable(judged[0], (wish.media_type, *wish.stored))
    return Representations(
        describe=lambda: answers.describe(judged, model, options),
        encode=lambda media_type: answers.encode(judged[0], media_type, model, options),
        name="diagnosis",
        model=model.reference,
        notice=answers.notice_of(judged[0]) if len(judged) == 1 else DISCLAIMER,
    )
