"""Files that answers of services link to, streamed from the blob store to those who got the answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from starlette.responses import StreamingResponse

from gateway.job_routes.files import ANY_FILE, PARTS, Wanted, blob_response
from gateway.redis_deadline import redis_deadline
from gateway.state import Gateway, VisibleOwner
from shared.problems import NotFound, ServiceUnavailable, problem_responses

router = APIRouter(prefix="/v1/files", tags=["jobs"])


@router.get(
    "/{answer_id}/{name}",
    summary="Read a file of an answer",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The file, in the type that the answer names", "content": ANY_FILE},
        **PARTS,
        **problem_responses(NotFound, ServiceUnavailable),
    },
)
async def read_answer_file(
    gateway: Gateway,
    owner: VisibleOwner,
    wanted: Annotated[Wanted, Depends()],
    answer_id: Annotated[str, Path(description="As in the link", examples=["019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"])],
    name: Annotated[str, Path(description="As in the link", examples=["enhancement.png"])],
) -> Response:
    """What `store` kept of a computation beside its JSON answer, for as long as results of jobs are kept.

    `Repr-Digest` (RFC 9530) lets you check what you got; a download that broke off goes on by `Range`.
    """
    async with redis_deadline():
        digest = await gateway.answer_files.find(answer_id, name, owner=owner)
    return await blob_response(gateway.blobs, digest, wanted, name=name)
