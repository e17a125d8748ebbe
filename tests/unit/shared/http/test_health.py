from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx
import pytest
from fastapi import FastAPI

from shared.http import health
from shared.http.health import Check, health_router


async def well() -> str | None:
    return None


async def missing() -> str | None:
    return "it is not there"


async def ask(checks: Mapping[str, Check], path: str = "/health/ready") -> httpx.Response:
    app = FastAPI()
    app.include_router(health_router(checks))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.example") as client:
        return await client.get(path)


async def test_all_well_is_ready() -> None:
    answer = await ask({"redis": well, "models": well})
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": {"redis": "ok", "models": "ok"}})


async def test_nothing_to_check_is_ready() -> None:
    assert (await ask({})).status_code == 200


async def test_one_missing_is_not_ready_and_named() -> None:
    answer = await ask({"redis": well, "models": missing})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json() == {"status": "not ready", "checks": {"redis": "ok", "models": "it is not there"}}


async def test_a_check_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs() -> str | None:
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(health, "_CHECK_TIMEOUT_S", 0.01)
    answer = await ask({"redis": hangs, "models": well})
    assert answer.status_code == 503
    assert "no answer within" in answer.json()["checks"]["redis"]


async def test_a_check_that_raises_is_not_ready_and_hides_no_other() -> None:
    async def raises() -> str | None:
        raise RuntimeError("password=secret")

    answer = await ask({"broken": raises, "models": well})
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"broken": "the check failed (RuntimeError)", "models": "ok"}


async def test_checks_run_side_by_side() -> None:
    barrier = asyncio.Barrier(3)

    async def meets() -> str | None:
        await barrier.wait()
        return None

    assert (await ask({"a": meets, "b": meets, "c": meets})).status_code == 200


async def test_alive_depends_on_nothing() -> None:
    answer = await ask({"redis": missing}, "/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
