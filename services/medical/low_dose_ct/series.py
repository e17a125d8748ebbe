"""A series of slices becomes a job: the files go to the blob store, their digests into the job's arguments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Generic, TypeVar

import anyio.to_thread
from fastapi import Request, Response
from pydantic import BaseModel, Field

from services.medical.low_dose_ct.schemas import EnhancementOptions, ReconstructionOptions
from shared.http.image_bodies import PostedFile
from shared.http.negotiation import DICOM, JSON, NPY
from shared.http.preferences import preferences_of
from shared.imaging.archive import ArchiveLimits, Entry, read_archive
from shared.imaging.signatures import MediaType, is_foreign, require_type, sniff
from shared.jobs.answers import answer_job
from shared.jobs.kinds import JobKind
from shared.problems import FieldError, UnsupportedMediaType, field_problem
from shared.service import ServiceState
from shared.telemetry.timing import timed

SLICE_TYPES = (MediaType.DICOM, MediaType.NPY, MediaType.PNG)
SINOGRAM_TYPES = (MediaType.NPY,)

_POINTER = "/body/file"
_ZIP_START = b"PK\x03\x04"

Options = TypeVar("Options", bound=BaseModel)


class Series(BaseModel, Generic[Options]):
    """Arguments of a job that works on a series."""

    options: Options
    inputs: list[str] = Field(description="Digests of the posted files, in order")
    media_type: str = Field(description="What each slice is answered as")


EnhancementSeries = Series[EnhancementOptions]
ReconstructionSeries = Series[ReconstructionOptions]


async def wants_job(request: Request, files: Sequence[PostedFile]) -> bool:
    """Whether these files are worked on as a job: several, a ZIP, or because the caller prefers it."""
    if len(files) > 1 or preferences_of(request).respond_async:
        return True
    return await files[0].start(len(_ZIP_START)) == _ZIP_START


async def create_series_job(
    request: Request,
    service: ServiceState,
    kind: JobKind,
    files: Sequence[PostedFile],
    options: Options,
    media_type: str,
) -> Response:
    """Store the files, create the job and answer 202 (or 200, where `Prefer: wait` was long enough).

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
        found = await _contents(files, limit=service.settings.upload_files_limit)
        types = [_type_of(entry, accepted, f"{_POINTER}/{i}") for i, entry in enumerate(found)]
        digests = await anyio.to_thread.run_sync(_store, service, [entry.data for entry in found], types)
    chosen = media_type if media_type != JSON else DICOM if types[0] is MediaType.DICOM else NPY
    # Options are validated already; a form's files have no place in a job's arguments.
    arguments = Series(options=options, inputs=digests, media_type=chosen).model_dump(mode="json")
    record = await service.jobs.create(kind, arguments)
    return await answer_job(service.jobs, record, preferences_of(request))


def _type_of(entry: Entry, accepted: Collection[MediaType], pointer: str) -> MediaType:
    """The type of a file, named by its entry where it stands in a ZIP."""
    try:
        return require_type(entry.data, accepted, pointer=pointer)
    except UnsupportedMediaType as problem:
        if not entry.name:
            raise
        detail = f"The entry {entry.name!r}: {problem.detail}"
        raise UnsupportedMediaType(detail, errors=[FieldError(pointer=pointer, detail=detail)]) from None


async def _contents(files: Sequence[PostedFile], *, limit: int) -> list[Entry]:
    """The posted files, without a name, and those in ZIPs, with theirs."""
    contents: list[Entry] = []
    for index, file in enumerate(files):
        pointer = f"{_POINTER}/{index}"
        data = await file.read()
        if sniff(data) is MediaType.ZIP:
            limits = ArchiveLimits(entries=limit)
            entries = await anyio.to_thread.run_sync(lambda: read_archive(data, limits, pointer=pointer))  # noqa: B023
            contents += _slices(entries)
        else:
            contents.append(Entry("", data))
    if len(contents) > limit:
        raise field_problem(_POINTER, f"A series may have {limit} slices; these are {len(contents)}.")
    return contents


def _slices(entries: list[Entry]) -> list[Entry]:
    """Without what lies beside the slices on a hospital's CD: viewers, texts, web pages; all, if nothing is left.

    A file of no known type stays and is refused by name: it may be a slice that is damaged.
    """
    return [entry for entry in entries if not is_foreign(entry.data)] or entries


def _store(service: ServiceState, contents: Sequence[bytes], types: Collection[MediaType]) -> list[str]:
    return [service.blobs.put(data, str(kind)).digest for data, kind in zip(contents, types, strict=True)]
