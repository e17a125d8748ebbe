"""A series of slices: the arguments of its jobs, and how one is made of what was posted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, Field

from services.medical.low_dose_ct.schemas import EnhancementOptions, ReconstructionOptions
from shared.http.image_bodies import PostedFile
from shared.http.negotiation import DICOM, JSON, NPY
from shared.imaging.signatures import MediaType, is_foreign
from shared.jobs.creation import create_job_of_files, read_series
from shared.jobs.kinds import JobKind
from shared.service import ServiceState
from shared.telemetry.timing import timed

SLICE_TYPES = (MediaType.DICOM, MediaType.NPY, MediaType.PNG)
SINOGRAM_TYPES = (MediaType.NPY,)

Options = TypeVar("Options", bound=BaseModel)


class Series(BaseModel, Generic[Options]):
    """Arguments of a job that works on a series."""

    options: Options
    inputs: list[str] = Field(description="Digests of the posted files, in order")
    media_type: str = Field(description="What each slice is answered as")


EnhancementSeries = Series[EnhancementOptions]
ReconstructionSeries = Series[ReconstructionOptions]


async def create_series_job(
    request: Request,
    service: ServiceState,
    kind: JobKind,
    files: Sequence[PostedFile],
    options: Options,
    media_type: str,
) -> Response:
    """Create the job of a series and answer with it.

    Args:
        request: the request, for its preferences.
        service: stores of the service.
        kind: which job.
        files: the posted files; a ZIP stands for the files in it.
        options: checked options of the route.
        media_type: what the caller accepts; JSON leaves the choice to the type of the first file.

    Raises:
        UnsupportedMediaType: one of the files is of a type that the job cannot read.
        UnprocessableContent: a file is empty, or there are too many.
        ContentTooLarge: a ZIP inflates to too much.
        ServiceUnavailable: no worker is there, or Redis does not answer.
    """
    accepted = SLICE_TYPES if isinstance(options, EnhancementOptions) else SINOGRAM_TYPES
    with timed("pre"):
        series = await read_series(files, accepted, limit=service.settings.upload_files_limit, is_foreign=is_foreign)
    contents, types = zip(*series, strict=True)
    chosen = media_type if media_type != JSON else DICOM if types[0] is MediaType.DICOM else NPY

    def arguments(digests: list[str]) -> Series[Options]:
        # Options are validated already; a form's files have no place in a job's arguments.
        return Series(options=options, inputs=digests, media_type=chosen)

    return await create_job_of_files(
        request, kind, contents, arguments, jobs=service.jobs, blobs=service.blobs, types=list(map(str, types))
    )
