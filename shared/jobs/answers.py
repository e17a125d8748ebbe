"""How routes answer with jobs: 202 with a Location, or the finished job where the caller waits for it (RFC 7240)."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Self

from fastapi import Response
from pydantic import BaseModel, Field

from shared.http.disconnect import cancel_on_disconnect
from shared.http.preferences import Preferences
from shared.jobs.identifiers import job_path
from shared.jobs.records import JobRecord, JobStatus
from shared.jobs.store import JobStore
from shared.problems import ProblemDetails, TooManyRequests, problem_responses
from shared.request_context import public_path

LONGEST_RETRY_AFTER_S = 30

_ID = "019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"


class JobProgressView(BaseModel):
    """How far a job is."""

    step: int = Field(description="Steps done", examples=[12])
    total: int | None = Field(description="Steps to do, once known", examples=[40])
    message: str | None = Field(description="What it is doing", examples=["slice 12 of 40"])
    unit: str = Field(description="What is counted", examples=["slice"])


class JobLinks(BaseModel):
    """Where to go from here; paths of the gateway."""

    self: str = Field(description="The job itself", examples=[f"/v1/jobs/{_ID}"])
    events: str = Field(description="Server-Sent Events", examples=[f"/v1/jobs/{_ID}/events"])
    result: str | None = Field(description="Once succeeded", examples=[None])
    cancel: str | None = Field(description="DELETE it; until it is finished", examples=[f"/v1/jobs/{_ID}"])

    retry: str | None = Field(description="POST to it; once ended without success", examples=[None])

    @classmethod
    def of(cls, record: JobRecord) -> Self:
        """Links of a job as it is now."""
        path = public_path(job_path(record.id))
        return cls(
            self=path,
            events=f"{path}/events",
            result=f"{path}/result" if record.status is JobStatus.SUCCEEDED else None,
            cancel=None if record.status.is_final else path,
            retry=f"{path}/retry" if record.status.is_final and record.status is not JobStatus.SUCCEEDED else None,
        )


class JobView(BaseModel):
    """A job as callers see it."""

    id: str = Field(description="Ids sort by the time of creation", examples=[_ID])
    kind: str = Field(description="What kind of job it is", examples=["medical.ct.enhancement-series"])
    title: str = Field(description="What it does", examples=["Denoise a series of CT slices"])
    status: JobStatus = Field(description="Where it stands", examples=["running"])
    progress: JobProgressView = Field(description="How far it is")
    queue_position: int | None = Field(description="Jobs ahead of it; null unless queued", examples=[None])
    eta_s: float | None = Field(description="Seconds until done, from measured step times", examples=[14.2])
    attempt: int = Field(description="Grows when a worker was lost and the job resumed", examples=[1])
    cancel_requested: bool = Field(description="It stops at its next step", examples=[False])
    cancel_bound_s: float = Field(description="Seconds within which a cancel takes effect", examples=[5.0])
    created_at: datetime = Field(description="When it was created, UTC")
    started_at: datetime | None = Field(description="When its first step began, UTC; null: it has not")
    finished_at: datetime | None = Field(description="When it ended, UTC; null: it has not", examples=[None])
    expires_at: datetime | None = Field(description="Answers 410 from then on", examples=[None])
    result: dict[str, Any] | None = Field(
        description="What the job made, once succeeded; some kinds say what they had made when cancelled",
        examples=[None],
    )
    problem: ProblemDetails | None = Field(description="Why it failed or expired", examples=[None])
    links: JobLinks = Field(description="Where to go from here")

    @classmethod
    def of(cls, record: JobRecord) -> Self:
        """The view of a record."""
        progress = record.progress
        special = {"links", "progress", "problem", "result"}
        view = {name: getattr(record, name) for name in cls.model_fields if name not in special}
        return cls(
            **view,
            result=public_result(record.result),
            problem=public_problem(record.problem),
            progress=JobProgressView(
                step=progress.step, total=progress.total, message=progress.message, unit=record.step_unit
            ),
            links=JobLinks.of(record),
        )


JOB_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {
        "model": JobView,
        "description": "The job is recorded; follow it at Location",
        "headers": {
            "Location": {"description": "Path of the job", "schema": {"type": "string"}},
            "Retry-After": {"description": "Seconds until another look makes sense", "schema": {"type": "integer"}},
            "Preference-Applied": {"description": "Preferences that were honoured", "schema": {"type": "string"}},
        },
    },
    **problem_responses(TooManyRequests),
}
"""OpenAPI `responses` of a route that may answer with a job."""


def public_result(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """A result as the caller of the request at hand can follow it: `href` in it names paths of the gateway.

    Results are written by workers, which know of no caller and so of no path prefix.
    """
    return result if result is None or public_path("") == "" else {name: _public(name, result[name]) for name in result}


def _public(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _public(inner, value[inner]) for inner in value}
    if isinstance(value, list):
        return [_public(name, item) for item in value]
    return public_path(value) if name == "href" and isinstance(value, str) and value.startswith("/") else value


def public_problem(document: dict[str, Any] | None) -> dict[str, Any] | None:
    """The problem that a job ended with, likewise: its `instance` is the path of the job."""
    if document is None or not document.get("instance"):
        return document
    return document | {"instance": public_path(document["instance"])}


def retry_after_s(record: JobRecord) -> int:
    """Seconds after which another look makes sense: the estimate, between 1 and `LONGEST_RETRY_AFTER_S`."""
    return max(1, min(math.ceil(record.eta_s or 1), LONGEST_RETRY_AFTER_S))


def accepted(record: JobRecord, preferences: Preferences | None = None) -> Response:
    """202 Accepted: the job is recorded, and Location says where to follow it."""
    headers = {"Location": job_path(record.id), "Retry-After": str(retry_after_s(record))}
    return _answer(record, 202, headers, preferences)


async def answer_job(store: JobStore, record: JobRecord, preferences: Preferences) -> Response:
    """Answer the request that created a job.

    Args:
        store: where the job is.
        record: the job as created.
        preferences: of the request; with `wait=N` the answer waits for so long, with `respond-async` beside it too
            (RFC 7240, section 4.3).

    Returns:
        200 with the finished job and Content-Location if it finished while the caller waited, else 202.

    Raises:
        ClientClosedRequest: the caller went away while it waited. The job goes on.
    """
    if preferences.wait_s:
        async with cancel_on_disconnect():
            record = await store.wait(record.id, seconds=preferences.wait_s)
    if record.status.is_final:
        return _answer(record, 200, {"Content-Location": job_path(record.id)}, preferences)
    return accepted(record, preferences)


def _answer(record: JobRecord, status: int, headers: dict[str, str], preferences: Preferences | None) -> Response:
    applied = preferences.applied() if preferences else None
    headers |= {"ETag": record.etag, "Vary": "Prefer", "Cache-Control": "private, no-cache"}
    headers |= {"Preference-Applied": applied} if applied else {}
    return Response(
        JobView.of(record).model_dump_json(), status_code=status, media_type="application/json", headers=headers
    )
