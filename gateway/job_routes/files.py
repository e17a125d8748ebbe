"""The files that jobs make, streamed from the blob store to those who may see the job."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Path, Response
from pydantic import ValidationError
from starlette.responses import StreamingResponse

from gateway.job_routes.jobs import JOB_PROBLEMS, JobId, read_finished
from gateway.job_routes.ranges import Part, is_unchanged, requested_part
from gateway.redis_deadline import redis_deadline
from gateway.state import Gateway, VisibleOwner
from shared.http.negotiation import DICOM, HTML, JSON, NPY, OCTETS, ONNX, PNG, SVG, ZIP
from shared.http.route_parts import BINARY
from shared.jobs.files import StoredFile, files_of
from shared.problems import Conflict, NotFound, RangeNotSatisfiable, problem_responses
from shared.storage.blobs import Blob, BlobCorrupted, BlobMissing, BlobStore

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])

_CHUNK_BYTES = 256 * 1024

# Generators of clients make a file of the first type, and nothing of `*/*`.
ANY_FILE = dict.fromkeys((OCTETS, PNG, SVG, NPY, DICOM, ZIP, ONNX, HTML, JSON), BINARY)

PARTS: dict[int | str, dict[str, Any]] = {
    206: {"description": "The part that Range asked for", "content": ANY_FILE},
    304: {"description": "The caller has it, as If-None-Match says"},
    **problem_responses(RangeNotSatisfiable),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a file is wanted."""

    range: Annotated[str | None, Header(description="`bytes=1000-` goes on after the first thousand bytes")] = None
    if_range: Annotated[str | None, Header(description="ETag: answer the part if it is still this file")] = None
    if_none_match: Annotated[str | None, Header(description="ETag of what the caller has")] = None


@router.get(
    "/files/{name}",
    summary="Read a file of a result",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The file, in the type that the result names", "content": ANY_FILE},
        **PARTS,
        **JOB_PROBLEMS,
        **problem_responses(Conflict),
    },
)
async def read_file(
    gateway: Gateway,
    owner: VisibleOwner,
    job_id: JobId,
    wanted: Annotated[Wanted, Depends()],
    name: Annotated[str, Path(description="A key of `files` in the result", examples=["series.zip"])],
) -> Response:
    """A file that the job's result names under `files`. `Repr-Digest` (RFC 9530) lets you check what you got.

    A download that broke off goes on by `Range`, with its ETag in `If-Range`.
    """
    record = await read_finished(gateway, job_id, owner)
    files = files_of(record.result)
    if name not in files:
        known = ", ".join(sorted(files)[:20]) or "none"
        raise NotFound(f"The result of this job has no such file. Files here: {known}.")
    try:
        file = StoredFile.model_validate(files[name])
    except ValidationError:
        raise NotFound("The result of this job names this file in a way that cannot be read.") from None
    return await blob_response(gateway.blobs, file.digest, wanted, name=name)


@router.get(
    "/previews/{digest}",
    summary="Read a preview",
    response_class=StreamingResponse,
    responses={200: {"description": "The picture", "content": ANY_FILE}, **PARTS, **JOB_PROBLEMS},
)
async def read_preview(
    gateway: Gateway,
    owner: VisibleOwner,
    job_id: JobId,
    wanted: Annotated[Wanted, Depends()],
    digest: Annotated[str, Path(description="`digest` of a `preview` event of this job", examples=["sha256:9f86..."])],
) -> Response:
    """A picture of unfinished work, while the job runs and after. Only digests that events of this job name."""
    async with redis_deadline():
        await gateway.jobs.get(job_id, owner=owner)
        known = await _has_preview(gateway, job_id, digest)
    if not known:
        raise NotFound("No event of this job names such a preview.")
    return await blob_response(gateway.blobs, digest, wanted, name="preview")


async def _has_preview(gateway: Gateway, job_id: str, digest: str) -> bool:
    async for event in gateway.jobs.events.follow(job_id, idle_s=0.001):
        if event is None:
            return False
        if event.type == "preview" and event.data.get("digest") == digest:
            return True
    return False


async def blob_response(blobs: BlobStore, digest: str, wanted: Wanted, *, name: str) -> Response:
    """Stream a blob, or the part of it that is asked for.

    Args:
        blobs: where it is.
        digest: its address.
        wanted: what the request says of parts and of what the caller has.
        name: file name to save it under.

    Raises:
        NotFound: it is no longer stored.
        RangeNotSatisfiable: it has no such part.
    """
    try:
        blob = await anyio.to_thread.run_sync(blobs.describe, digest)
        etag = f'"{digest.removeprefix("sha256:")}"'
        headers = _headers(blob, etag=etag, name=name)
        if is_unchanged(wanted.if_none_match, etag):
            return Response(status_code=304, headers=headers)
        part = requested_part(wanted.range, wanted.if_range, etag=etag, size=blob.size)
        headers["Content-Type"] = blob.media_type  # as the result names it: a page says itself how it is encoded
        stream = await anyio.to_thread.run_sync(blobs.open, digest)
    except BlobMissing:
        raise NotFound("The file is no longer stored.") from None
    if part is None:
        headers["Content-Length"] = str(blob.size)
        return StreamingResponse(_checked(stream, blob), media_type=blob.media_type, headers=headers)
    headers |= {"Content-Length": str(part.stop - part.start), "Content-Range": part.content_range}
    return StreamingResponse(_cut(stream, part), status_code=206, media_type=blob.media_type, headers=headers)


def _headers(blob: Blob, *, etag: str, name: str) -> dict[str, str]:
    disposition = "inline" if blob.media_type.startswith("image/") else "attachment"
    digest = base64.b64encode(bytes.fromhex(blob.digest.removeprefix("sha256:"))).decode()
    return {
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name, safe='')}",
        "Repr-Digest": f"sha-256=:{digest}:",
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


async def _checked(stream: BinaryIO, blob: Blob) -> AsyncIterator[bytes]:
    """Parts of a blob; the last one is held back until the digest of all is known to be right.

    Raises:
        BlobCorrupted: it is not, so that the answer breaks off instead of passing for whole.
    """
    digest = hashlib.sha256()
    held = b""
    async with _closing(stream):
        yield b""  # the head, which the server holds back until something follows: this is no 500 any more
        while chunk := await anyio.to_thread.run_sync(stream.read, _CHUNK_BYTES):
            digest.update(chunk)
            if held:
                yield held
            held = chunk
        if f"sha256:{digest.hexdigest()}" != blob.digest:
            raise BlobCorrupted(f"the content of {blob.digest} has changed in the store")
        yield held


async def _cut(stream: BinaryIO, part: Part) -> AsyncIterator[bytes]:
    """One part of a blob, chunk by chunk; its caller checks the whole by Repr-Digest, as nothing shorter has one.

    Raises:
        BlobCorrupted: what is stored is shorter than it was.
    """
    async with _closing(stream):
        await anyio.to_thread.run_sync(stream.seek, part.start)
        left = part.stop - part.start
        while left:
            chunk = await anyio.to_thread.run_sync(stream.read, min(left, _CHUNK_BYTES))
            if not chunk:
                raise BlobCorrupted("a blob has become shorter in the store")
            left -= len(chunk)
            yield chunk


@asynccontextmanager
async def _closing(stream: BinaryIO) -> AsyncIterator[None]:
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(stream.close)
