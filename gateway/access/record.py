"""The entry that a request leaves in the audit log, whichever way it came."""

from __future__ import annotations

from starlette.types import Scope

from shared.access.audit import AuditLog, Entry
from shared.access.keys import ApiKey
from shared.http.middleware import AUDIT_IN_SCOPE
from shared.request_context import ANONYMOUS


def record(
    audit: AuditLog,
    scope: Scope,
    *,
    request_id: str,
    key: ApiKey | None,
    status: int,
    digest: str,
    size: int,
    job: str = "",
    note: str = "",
) -> None:
    """Write it, and leave it for the request's line in the process log.

    Args:
        audit: the log.
        scope: of the request.
        request_id: of the request.
        key: that it was made with, if that was good.
        status: it was answered with.
        digest: of its body; empty where that was not read to its end.
        size: bytes of its body, as far as it was read.
        job: path of the job that it created.
        note: of the service, about what it ran.
    """
    entry = Entry(
        request_id=request_id,
        caller=key.owner if key else ANONYMOUS,
        key=key.id if key else "",
        method=scope["method"],
        path=scope["path"],
        status=status,
        digest=digest,
        bytes=size,
        job=job,
        note=note,
    )
    scope[AUDIT_IN_SCOPE] = audit.write(entry)
