"""Cursors of listings: opaque to callers, the id of the last job of a page inside."""

from __future__ import annotations

import base64
import binascii

from shared.jobs.identifiers import is_job_id
from shared.problems import field_problem


def encode_cursor(job_id: str) -> str:
    """The cursor that continues after this job."""
    return base64.urlsafe_b64encode(job_id.encode("ascii")).decode("ascii").rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The id that a cursor continues after.

    Raises:
        UnprocessableContent: it is no cursor of ours.
    """
    try:
        padding = "=" * (-len(cursor) % 4)
        job_id = base64.b64decode(cursor + padding, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        job_id = ""
    if not is_job_id(job_id):
        raise field_problem("/query/cursor", "This is no cursor. Take it from the Link header of the page before.")
    return job_id
