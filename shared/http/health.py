"""Liveness and readiness, kept apart: alive is "the process answers", ready is "everything it needs is there".

A restart cures a process that is not alive; it does not cure a missing Redis, so readiness never asks for one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

logger = logging.getLogger(__name__)

Check = Callable[[], Awaitable[str | None]]
"""Returns None when all is well, else what is missing."""

_CHECK_TIMEOUT_S = 2.0


class Liveness(BaseModel):
    """Answer of /health/live."""

    status: Literal["alive"] = Field(default="alive", description="Always alive, as there is an answer")


class Readiness(BaseModel):
    """Answer of /health/ready."""

    status: Literal["ready", "not ready"] = Field(description="Whether everything that is needed is there")
    checks: dict[str, str] = Field(description="'ok' or what is missing, by name", examples=[{"redis": "ok"}])


async def _run(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            return await check() or "ok"
    except TimeoutError:
        return f"no answer within {_CHECK_TIMEOUT_S:.0f} s"
    except Exception as error:  # a check at fault must not hide what the others found
        logger.exception("a readiness check failed")
        return f"the check failed ({type(error).__name__})"


async def passes(checks: Mapping[str, Check]) -> bool:
    """Whether all checks find everything there; they run side by side."""
    return all(state == "ok" for state in await asyncio.gather(*map(_run, checks.values())))


def health_router(checks: Mapping[str, Check]) -> APIRouter:
    """Routes /health/live and /health/ready.

    Args:
        checks: what readiness depends on, by name; they run side by side.
    """
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", summary="Is the process alive?")
    async def live() -> Liveness:
        """Answers as long as the event loop turns; depends on nothing else."""
        return Liveness()

    @router.get(
        "/ready",
        summary="Can it serve?",
        responses={503: {"model": Readiness, "description": "Something that is needed is missing"}},
    )
    async def ready(response: Response) -> Readiness:
        """Ready when models are loaded, warmed up and match their digests, and Redis answers."""
        found = dict(zip(checks, await asyncio.gather(*map(_run, checks.values())), strict=True))
        well = all(state == "ok" for state in found.values())
        if not well:
            response.status_code = 503
            response.headers["Retry-After"] = "2"
        return Readiness(status="ready" if well else "not ready", checks=found)

    return router
