"""Jobs of posted files: the files go to the blob store, their digests into the arguments of the job."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

import anyio.to_thread
from fastapi import Request, Response
from pydantic import BaseModel

from shared.http.image_bodies import PostedFile
from shared.http.preferences import preferences_of
from shared.imaging.archive import ArchiveLimits, Entry, read_archive
from shared.imaging.signatures import MediaType, require_type, sniff
from shared.jobs.answers import answer_job
from shared.jobs.kinds import JobKind
from shared.jobs.store import JobStore
from shared.problems import FieldError, UnsupportedMediaType, field_problem
from shared.storage.blobs import DEFAULT_MEDIA_TYPE, BlobStore

_POINTER: Final = "/body/file"
_ZIP_START: Final = b"PK\x03\x04"


async def wants_job(request: Request, files: Sequence[PostedFile]) -> bool:
    """Whether these files are worked on as a job: several, a ZIP, or because the caller prefers it."""
    if len(files) > 1 or preferences_of(request).respond_async:
        return True
    return await files[0].start(len(_ZIP_START)) == _ZIP_START


def _never(_: bytes) -> bool:
    return False


async def read_series(
    files: Sequence[PostedFile],
    accepted: Collection[MediaType],
    *,
    limit: int,
    is_foreign: Callable[[bytes], bool] = _never,
) -> list[tuple[bytes, MediaType]]:
    """Read posted files, each with its type; a ZIP stands for the files in it.

    Args:
        files: as they were posted.
        accepted: types that they may have.
        limit: most files.
        is_foreign: says what of a ZIP lies beside the files that are meant, such as the viewer on a hospital's CD; it
            is left out, unless nothing else is there. What is damaged stays, and is refused by name.

    Raises:
        UnsupportedMediaType: one of the files is of another type.
        UnprocessableContent: a file is empty, or there are too many.
        ContentTooLarge: a ZIP inflates to too much.
    """
    found: list[Entry] = []
    for index, file in enumerate(files):
        entries = await _unpack(await file.read(), limit=limit, pointer=f"{_POINTER}/{index}")
        found += [entry for entry in entries if not entry.name or not is_foreign(entry.data)] or entries
    if len(found) > limit:
        raise field_problem(_POINTER, f"A series may have {limit} files; these are {len(found)}.")
    return [(entry.data, _type_of(entry, accepted, f"{_POINTER}/{index}")) for index, entry in enumerate(found)]


async def _unpack(data: bytes, *, limit: int, pointer: str) -> list[Entry]:
    """The entries of a ZIP with their names; any other file alone, without one."""
    if sniff(data) is not MediaType.ZIP:
        return [Entry("", data)]
    limits = ArchiveLimits(entries=limit)
    return await anyio.to_thread.run_sync(lambda: read_archive(data, limits, pointer=pointer))


def _type_of(entry: Entry, accepted: Collection[MediaType], pointer: str) -> MediaType:
    """The type of a file; a problem names its entry where it stands in a ZIP."""
    try:
        return require_type(entry.data, accepted, pointer=pointer)
    except UnsupportedMediaType as problem:
        if not entry.name:
            raise
        detail = f"The entry {entry.name!r}: {problem.detail}"
        raise UnsupportedMediaType(detail, errors=[FieldError(pointer=pointer, detail=detail)]) from None


async def create_job_of_files(
    request: Request,
    kind: JobKind,
    contents: Sequence[bytes],
    arguments: Callable[[list[str]], BaseModel],
    *,
    jobs: JobStore,
    blobs: BlobStore,
    types: Sequence[str] = (),
) -> Response:
    """Store files, create the job that works on them, and answer 202 (or 200, where `Prefer: wait` was long enough).

    Args:
        request: for its preferences.
        kind: which job.
        contents: of the files.
        arguments: makes the arguments of the job out of the digests of the files, in their order.
        jobs: the store of jobs.
        blobs: where the files go.
        types: media types of the files; by default nothing is said of them.

    Raises:
        ServiceUnavailable: no worker is there, or Redis does not answer.
    """
    typed = list(zip(contents, types or [DEFAULT_MEDIA_TYPE] * len(contents), strict=True))
    digests = await anyio.to_thread.run_sync(lambda: [blobs.put(data, one).digest for data, one in typed])
    record = await jobs.create(kind, arguments(digests).model_dump(mode="json"))
    return await answer_job(jobs, record, preferences_of(request))
