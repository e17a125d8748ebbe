"""The files that jobs make, streamed from the blob store to those who may see the job."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, BinaryIO
from urllib.parse import quote

import anyio.to_thread
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ValidationError
from starlette.responses import StreamingResponse

from gateway.jobs import JOB_PROBLEMS, JobId, read_finished
from gateway.promptness import promptly
from gateway.state import Gateway, VisibleOwner
from shared.problems import Conflict, NotFound, problem_responses
from shared.storage.blobs import Blob, BlobCorrupted, BlobMissing, BlobStore

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])

_CHUNK_BYTES = 256 * 1024

_BINARY = {"*/*": {"schema": {"type": "string", "format": "binary"}}}


class StoredFile(BaseModel):
    """How a result names a file: `result["files"][name]`."""

    digest: str
    media_type: str
    size: int


@router.get(
    "/files/{name}",
    summary="Read a file of a result",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The file, in the type that the result names", "content": _BINARY},
        **JOB_PROBLEMS,
        **problem_responses(Conflict),
    },
)
async def read_file(
    gateway: Gateway,
    owner: VisibleOwner,
    job_id: JobId,
    name: Annotated[str, Path(description="A key of `files` in the result", examples=["series.zip"])],
) -> Response:
    """A file that the job's result names under `files`. `Repr-Digest` (RFC 9530) lets you check what you got."""
    record = await read_finished(gateway, job_id, owner)
    files = (record.result or {}).get("files", {})
    if not isinstance(files, dict) or name not in files:
        known = ", ".join(sorted(files)[:20]) if isinstance(files, dict) else ""
        raise NotFound(f"The result of this job has no such file. Files here: {known or 'none'}.")
    try:
        file = StoredFile.model_validate(files[name])
    except ValidationError:
        raise NotFound("The result of this job names this file in a way that cannot be read.") from None
    return await blob_response(gateway.blobs, file.digest, name=name)


@router.get(
    "/previews/{digest}",
    summary="Read a preview",
    response_class=StreamingResponse,
    responses={200: {"description": "The picture", "content": _BINARY}, **JOB_PROBLEMS},
)
async def read_preview(
    gateway: Gateway,
    owner: VisibleOwner,
    job_id: JobId,
    digest: Annotated[str, Path(description="`digest` of a `preview` event of this job", examples=["sha256:9f86..."])],
) -> Response:
    """A picture of unfinished work, while the job runs and after. Only digests that events of this job name."""
    async with promptly():
        await gateway.jobs.get(job_id, owner=owner)
        known = await _has_preview(gateway, job_id, digest)
    if not known:
        raise NotFound("No event of this job names such a preview.")
    return await blob_response(gateway.blobs, digest, name="preview")


async def _has_preview(gateway: Gateway, job_id: str, digest: str) -> bool:
    async for event in gateway.jobs.events.follow(job_id, idle_s=0.001):
        if event is None:
            return False
        if event.type == "preview" and event.data.get("digest") == digest:
            return True
    return False


async def blob_response(blobs: BlobStore, digest: str, *, name: str) -> Response:
    """Stream a blob.

    Args:
        blobs: where it is.
        digest: its address.
        name: file name to save it under.

    Raises:
        NotFound: it is no longer stored.
    """
    try:
        blob = await anyio.to_thread.run_sync(blobs.describe, digest)
        stream = await anyio.to_thread.run_sync(blobs.open, digest)
    except BlobMissing:
        raise NotFound("The file is no longer stored.") from None
    disposition = "inline" if blob.media_type.startswith("image/") else "attachment"
    headers = {
        "Content-Length": str(blob.size),
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name, safe='')}",
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(digest.removeprefix('sha256:'))).decode()}:",
        "Cache-Control": "private, no-store",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return StreamingResponse(_checked(stream, blob), media_type=blob.media_type, headers=headers)


async def _checked(stream: BinaryIO, blob: Blob) -> AsyncIterator[bytes]:
    """Parts of a blob; the last one is held back until the digest of all is known to be right.

    Raises:
        BlobCorrupted: it is not, so that the answer breaks off instead of passing for whole.
    """
    digest = hashlib.sha256()
    held = b""
    try:
        yield b""  # the head, which the server holds back until something follows: this is no 500 any more
        while chunk := await anyio.to_thread.run_sync(stream.read, _CHUNK_BYTES):
            digest.update(chunk)
            if held:
                yield held
            held = chunk
        if f"sha256:{digest.hexdigest()}" != blob.digest:
            raise BlobCorrupted(f"the content of {blob.digest} has changed in the store")
        yield held
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(stream.close)
