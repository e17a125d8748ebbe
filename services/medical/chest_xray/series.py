"""A series of films: the arguments of its job, when one is made, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import Request, Response
from pydantic import BaseModel, Field

from services.medical.chest_xray.capability import DIAGNOSES
from services.medical.chest_xray.film_reading import FILM_TYPES
from services.medical.chest_xray.schemas import DiagnosisOptions
from services.medical.chest_xray.settings import direct_films
from shared.http.image_bodies import Posted, PostedFile
from shared.http.negotiation import JSON
from shared.http.preferences import preferences_of
from shared.imaging.signatures import is_foreign
from shared.jobs.creation import create_job_of_files, read_series
from shared.problems import field_problem
from shared.runtime.cards import ModelReference
from shared.service_state import ServiceState
from shared.telemetry.timing import timed

_ZIP_START: Final = b"PK\x03\x04"


class FilmSeries(BaseModel):
    """Arguments of a job that reads films."""

    options: DiagnosisOptions = Field(description="How")
    inputs: list[str] = Field(description="Digests of the posted files, in order")
    media_type: str = Field(description="What each film is answered as, beside the figures")
    model: ModelReference = Field(description="The model, as it was when the job was made")


async def wants_series_job(request: Request, files: Sequence[PostedFile], media_type: str) -> bool:
    """Whether films are read by a job: many, a ZIP, several that are answered as files, or by the caller's wish."""
    if preferences_of(request).respond_async or len(files) > direct_films():
        return True
    if len(files) > 1 and media_type != JSON:
        return True
    return any([await file.start(len(_ZIP_START)) == _ZIP_START for file in files])


async def create_series_job(
    request: Request,
    service: ServiceState,
    posted: Posted[DiagnosisOptions],
    media_type: str,
    model: ModelReference,
) -> Response:
    """Create the job of a series and answer with it.

    Raises:
        UnsupportedMediaType: one of the files is of a type that is no film.
        UnprocessableContent: a file is empty, there are too many, or files are to be stored that are none of the job's.
        ContentTooLarge: a ZIP inflates to too much.
        ServiceUnavailable: no worker is there, or Redis does not answer.
    """
    if posted.options.store:
        raise field_problem(
            "/body/store", "A series is a job, which keeps a file of each film in the format that Accept names."
        )
    with timed("pre"):
        limit = service.settings.upload_files_limit
        series = await read_series(posted.files, FILM_TYPES, limit=limit, is_foreign=is_foreign)
    contents, types = zip(*series, strict=True)

    def arguments(digests: list[str]) -> FilmSeries:
        return FilmSeries(options=posted.options, inputs=digests, media_type=media_type, model=model)

    return await create_job_of_files(
        request, DIAGNOSES, contents, arguments, jobs=service.jobs, blobs=service.blobs, types=list(map(str, types))
    )
