"""The audit log over HTTP, for admins; without API keys, for everybody who reaches the loopback address."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from gateway.redis_deadline import redis_deadline
from gateway.state import Gateway
from shared.access.audit import Recorded
from shared.http.paging import link_next
from shared.problems import Forbidden, ServiceUnavailable, Unauthorized, UnprocessableContent, problem_responses

router = APIRouter(prefix="/v1/audit", tags=["audit"])


class AuditEntry(BaseModel):
    """One request that ran or wrote something, or was refused."""

    id: str = Field(description="Its place in the log", examples=["1754300000000-0"])
    time: datetime = Field(description="When the request was answered, UTC")
    request_id: str = Field(description="Id of the request, as its answer had it")
    caller: str = Field(description="Who asked", examples=["radiology"])
    key: str = Field(description="Id of the API key; empty where none was good", examples=["3f9c1d2e4a5b"])
    method: str = Field(description="Method of the request", examples=["POST"])
    path: str = Field(
        description="Path of the request, without its query", examples=["/v1/jobs/019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"]
    )
    status: int = Field(description="Of the answer; 499 where the caller left before it", examples=[200])
    digest: str = Field(description="sha256 of the request body; empty where it was not read to its end")
    bytes: int = Field(description="Of the request body, as far as it was read")
    job: str = Field(description="Path of the job that was created, if one was")
    note: str = Field(description="What the service put on record, such as the owner's statement that allows a test")

    @classmethod
    def of(cls, recorded: Recorded) -> AuditEntry:
        """The view of an entry."""
        entry = recorded.entry
        fields = {name: getattr(entry, name) for name in cls.model_fields if name not in {"id", "time"}}
        return cls(id=recorded.id, time=recorded.time, **fields)


class AuditPage(BaseModel):
    """A page of the log, newest first."""

    entries: list[AuditEntry] = Field(description="Newest first")


@router.get(
    "",
    summary="Read the audit log",
    responses={
        200: {"headers": {"Link": {"description": "`rel=next` (RFC 8288)", "schema": {"type": "string"}}}},
        **problem_responses(Unauthorized, Forbidden, UnprocessableContent, ServiceUnavailable),
    },
)
async def read_audit_log(
    gateway: Gateway,
    response: Response,
    cursor: Annotated[str | None, Query(description="From the Link of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Most entries on the page")] = 50,
) -> AuditPage:
    """Who ran what on which digest. Holds no content and no file names."""
    async with redis_deadline():
        found, following = await gateway.audit.page(cursor=cursor, limit=limit)
    response.headers["Cache-Control"] = "private, no-store"
    link_next(response, "/v1/audit", {"cursor": following, "limit": limit})
    return AuditPage(entries=[AuditEntry.of(row) for row in found])
