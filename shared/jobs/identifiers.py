"""Job ids: UUIDs of version 7 (RFC 9562), which sort by the time of their making, so that listings page by id."""

from __future__ import annotations

import re
import secrets
import time
from uuid import UUID

JOB_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_job_id(nanoseconds: int | None = None) -> str:
    """A fresh id.

    The 12 bits after the millisecond hold its fraction (RFC 9562, section 6.2, method 3), so that ids made in one
    process within the same millisecond keep their order.

    Args:
        nanoseconds: time since the epoch; now where not given.
    """
    milliseconds, rest = divmod(time.time_ns() if nanoseconds is None else nanoseconds, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(UUID(int=value))


def job_path(job_id: str) -> str:
    """Where the gateway serves a job; in bodies of answers, `shared.request_context.public_path` of it."""
    return f"/v1/jobs/{job_id}"


def is_job_id(text: str) -> bool:
    """Whether this can be the id of a job at all; checked before it gets near a key of Redis."""
    return JOB_ID.fullmatch(text) is not None
