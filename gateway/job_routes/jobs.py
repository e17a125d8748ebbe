"""The jobs of all services under one address: list, read, wait for, cancel, retry."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field

from gateway.redis_deadline import redis_deadline
from gateway.state import Gateway, VisibleOwner
from shared.http.paging import link_next
from shared.http.preferences import Preferences, preferences_of
from shared.jobs.answers import JobView, public_result, retry_after_s
from shared.jobs.identifiers import job_path
from shared.jobs.records import JobRecord, JobStatus
from shared.jobs.store import PAGE_LIMIT
from shared.problems import (
    BY_STATUS,
    Conflict,
    Gone,
    InternalError,
    NotFound,
    Problem,
    ProblemDetails,
    ServiceUnavailable,
    TooManyRequests,
    UnprocessableContent,
    problem_responses,
)

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

JobId = Annotated[
    str,
    Path(
        description="Id of the job, from the Location of the answer that created it",
        examples=["019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"],
    ),
]

JOB_PROBLEMS: dict[int | str, dict[str, Any]] = problem_responses(NotFound, Gone, ServiceUnavailable)

_RETRY_AFTER = {"description": "Seconds after which another look makes sense", "schema": {"type": "integer"}}
_LOCATION = {"description": "Path of the job", "schema": {"type": "string"}}
_ETAG = {"description": "Changes with every change of the job", "schema": {"type": "string"}}


class JobList(BaseModel):
    """One page of jobs, newest first."""

    jobs: list[JobView] = Field(description="Yours, newest first")
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last one", examples=[None])


@router.get(
    "",
    summary="List jobs",
    responses={
        200: {"headers": {"Link": {"description": '`rel="next"`: the next page', "schema": {"type": "string"}}}},
        **problem_responses(UnprocessableContent, ServiceUnavailable),
    },
)
async def list_jobs(
    response: Response,
    gateway: Gateway,
    owner: VisibleOwner,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this status")] = None,
    kind: Annotated[str | None, Query(max_length=100, description="Only jobs of this kind")] = None,
    cursor: Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT, description="Most jobs on the page")] = 20,
) -> JobList:
    """Jobs, newest first. With a filter a page may be short and yet not the last: follow `Link` until it is absent."""
    async with redis_deadline():
        page = await gateway.jobs.list_jobs(owner=owner, status=status, kind=kind, cursor=cursor, limit=limit)
    response.headers["Cache-Control"] = "private, no-cache"
    query = {"status": status, "kind": kind, "limit": limit, "cursor": page.next_cursor}
    link_next(response, "/v1/jobs", query)
    return JobList(jobs=[JobView.of(record) for record in page.records], next_cursor=page.next_cursor)


@router.get(
    "/{job_id}",
    summary="Read a job",
    response_model=JobView,
    responses={
        200: {"headers": {"ETag": _ETAG, "Retry-After": _RETRY_AFTER}},
        304: {"description": "It is as If-None-Match says"},
        **JOB_PROBLEMS,
    },
)
async def read_job(
    request: Request,
    gateway: Gateway,
    owner: VisibleOwner,
    job_id: JobId,
    prefer: Annotated[
        str | None, Header(description="`wait=N`: answer as soon as the job is finished, after N seconds at the latest")
    ] = None,
    if_none_match: Annotated[str | None, Header(description="ETag of the last answer")] = None,
) -> Response:
    """The job as it is now. `Retry-After` says when to look again; it is absent once the job is finished."""
    del prefer  # documented here, read with all its repetitions below
    preferences = preferences_of(request)
    record = await _read(gateway, job_id, owner, wait_s=preferences.wait_s or 0)
    headers = _headers(record, preferences)
    if if_none_match and _matches(if_none_match, record.etag):
        return Response(status_code=304, headers=headers)
    return _view(record, 200, headers)


@router.delete(
    "/{job_id}",
    summary="Cancel a job",
    response_model=JobView,
    responses={
        200: {"description": "It had not started and is cancelled"},
        202: {"model": JobView, "description": "It stops at its next step, within `cancel_bound_s`"},
        **JOB_PROBLEMS,
        **problem_responses(Conflict),
    },
)
async def cancel_job(gateway: Gateway, owner: VisibleOwner, job_id: JobId) -> Response:
    """Stop a job and nothing else. Asking again while it stops changes nothing; a finished job answers 409."""
    async with redis_deadline():
        record = await gateway.jobs.request_cancel(job_id, owner=owner)
    return _view(record, 200 if record.status.is_final else 202, _headers(record, Preferences()))


@router.post(
    "/{job_id}/retry",
    summary="Retry a job",
    status_code=202,
    response_model=JobView,
    responses={
        202: {
            "description": "It waits for a worker again",
            "headers": {"Location": _LOCATION, "ETag": _ETAG, "Retry-After": _RETRY_AFTER},
        },
        **JOB_PROBLEMS,
        **problem_responses(Conflict, TooManyRequests),
    },
)
async def retry_job(gateway: Gateway, owner: VisibleOwner, job_id: JobId) -> Response:
    """Give a job that failed, expired or was cancelled a further attempt, which resumes from its last checkpoint.

    The job keeps its id. An unfinished job, and one that succeeded, answers 409.
    """
    async with redis_deadline():
        record = await gateway.jobs.retry(job_id, owner=owner)
    return _view(record, 202, _headers(record, Preferences()) | {"Location": job_path(record.id)})


@router.get(
    "/{job_id}/result",
    summary="Read the result of a job",
    responses={
        200: {"description": "What the job made; files in it are read from `/v1/jobs/{job_id}/files/{name}`"},
        "default": {
            "description": "The problem that the job failed with, with its own status, as a direct call would answer",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        },
        **JOB_PROBLEMS,
        **problem_responses(Conflict),
    },
)
async def read_result(gateway: Gateway, owner: VisibleOwner, job_id: JobId, response: Response) -> dict[str, Any]:
    """The result alone. A failed job answers with its problem; 409 while there is none yet, and after a cancel, unless
    the job could say what it had found until then.
    """
    record = await read_finished(gateway, job_id, owner)
    response.headers["Cache-Control"] = "private, no-store"
    return public_result(record.result) or {}


async def read_finished(gateway: Gateway, job_id: str, owner: str | None) -> JobRecord:
    """A job that succeeded, or was cancelled with a result of what it had found until then.

    Raises:
        Conflict: it is unfinished, or was cancelled without a result.
        Problem: the one that it failed or expired with.
    """
    record = await _read(gateway, job_id, owner)
    if record.status is JobStatus.SUCCEEDED or (record.status is JobStatus.CANCELLED and record.result is not None):
        return record
    if record.problem is not None:
        raise stored_problem(record.problem)
    if record.status.is_final:
        raise Conflict(f"This job is {record.status} and has no result.")
    seconds = str(retry_after_s(record))
    raise Conflict(f"This job is {record.status}. It has no result yet.", headers={"Retry-After": seconds})


async def _read(gateway: Gateway, job_id: str, owner: str | None, *, wait_s: int = 0) -> JobRecord:
    async with redis_deadline():
        record = await gateway.jobs.get(job_id, owner=owner)
    if wait_s and not record.status.is_final:
        async with redis_deadline(beyond_s=wait_s):
            return await gateway.jobs.wait(job_id, seconds=wait_s, owner=owner)
    return record


def _headers(record: JobRecord, preferences: Preferences) -> dict[str, str]:
    headers = {"ETag": record.etag, "Vary": "Prefer", "Cache-Control": "private, no-cache"}
    if preferences.wait_s is not None:
        headers["Preference-Applied"] = f"wait={preferences.wait_s}"
    if not record.status.is_final:
        headers["Retry-After"] = str(retry_after_s(record))
    return headers


def _view(record: JobRecord, status: int, headers: dict[str, str]) -> Response:
    content = JobView.of(record).model_dump_json()
    return Response(content, status_code=status, media_type="application/json", headers=headers)


def _matches(if_none_match: str, etag: str) -> bool:
    """Weak comparison (RFC 9110, section 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


def stored_problem(document: dict[str, Any]) -> Problem:
    """The problem that a job ended with, as it is answered.

    It keeps its own status, but invites to no retry: a finished job stays as it is.
    """
    details = ProblemDetails.model_validate(document)
    problem = BY_STATUS.get(details.status, InternalError)(details.detail, errors=details.errors)
    problem.headers.pop("Retry-After", None)
    return problem
