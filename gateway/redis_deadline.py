"""An answer from Redis soon, or none: a caller gets its 503 within seconds, however Redis fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.problems import ServiceUnavailable

LONGEST_ANSWER_S = 2.0


@asynccontextmanager
async def redis_deadline(*, beyond_s: float = 0.0) -> AsyncIterator[None]:
    """Give up on what runs inside after `LONGEST_ANSWER_S`.

    The connection's own timeouts must be longer than its longest blocking read, and do not protect a plain question.

    Args:
        beyond_s: time that it is meant to wait, in addition.

    Raises:
        ServiceUnavailable: it took longer.
    """
    try:
        async with asyncio.timeout(beyond_s + LONGEST_ANSWER_S):
            yield
    except TimeoutError:
        raise ServiceUnavailable("The job store does not answer in time at present.") from None
