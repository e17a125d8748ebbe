"""Keys, scopes and quotas on the short way, against the long one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request

from gateway.access import authentication
from gateway.app import create_app
from gateway.express import GatewayLane
from shared.access.keys import KeyStore
from shared.http.express import Answered, Asked
from shared.settings import DOMAINS, Settings
from tests.integration.gateway.keys import bearer
from tests.integration.gateway.servers import serve

INFER = "/v2/models/tiny/infer"


def service() -> FastAPI:
    """A service with one model, that says what it was told of the caller."""
    app = FastAPI(openapi_url=None)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"models": [{"name": "tiny"}]}

    @app.post("/v2/models/{name}/infer")
    async def infer(name: str, request: Request) -> dict[str, Any]:
        return {"size": len(await request.body()), "headers": dict(request.headers)}

    return app


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models of the requests that took the short way."""
    names: list[str] = []
    answer = GatewayLane.answer

    async def noting(lane: GatewayLane, asked: Asked) -> Answered:
        names.append(asked.name)
        return await answer(lane, asked)

    monkeypatch.setattr(GatewayLane, "answer", noting)
    return names


@pytest.fixture
def url(redis_url: str, tmp_path: Path, taken: list[str]) -> Iterator[str]:
    with serve(service()) as service_url:
        urls: dict[str, Any] = {f"{domain}_url": service_url for domain in DOMAINS}
        settings = Settings(
            _env_file=None, redis_url=redis_url, blob_url=str(tmp_path), api_keys=True, quota_jobs=7, **urls
        )
        with serve(create_app(settings)) as url:
            yield url


@pytest_asyncio.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        yield client


async def test_a_key_that_was_good_a_moment_ago_takes_the_short_way_with_the_same_answer(
    client: httpx.AsyncClient, keys: KeyStore, taken: list[str]
) -> None:
    headers = await bearer(keys, "models:run", requests_per_minute=50)
    long = await client.post(INFER, content=b"tensor", headers=headers)
    assert (long.status_code, taken) == (200, [])
    short = await client.post(INFER, content=b"tensor", headers=headers | {"Facet-Caller": "eve"})
    assert (short.status_code, taken) == (200, ["tiny"])
    for name in ("facet-caller", "facet-job-limit"):
        assert short.json()["headers"][name] == long.json()["headers"][name]
    assert not {"authorization", "x-api-key"} & short.json()["headers"].keys()
    assert short.headers["RateLimit-Policy"] == long.headers["RateLimit-Policy"]
    assert '"requests";r=49' in long.headers["RateLimit"]
    assert '"requests";r=48' in short.headers["RateLimit"]


async def test_bytes_are_charged_and_what_is_over_the_quota_is_refused(
    client: httpx.AsyncClient, keys: KeyStore, taken: list[str]
) -> None:
    headers = await bearer(keys, "models:run", requests_per_minute=3, bytes_per_minute=10_000)
    answers = [await client.post(INFER, content=bytes(1000), headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert len(taken) == 3
    assert '"bytes";r=7000' in answers[2].headers["RateLimit"]
    refused = answers[3]
    assert refused.json()["violated-policies"] == ["requests"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert '"requests";r=0' in refused.headers["RateLimit"]


async def test_other_keys_go_the_long_way_to_their_refusal(
    client: httpx.AsyncClient, keys: KeyStore, taken: list[str]
) -> None:
    good = await bearer(keys, "models:run")
    await client.post(INFER, content=b"x", headers=good)
    text = good["Authorization"]
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    assert (await client.post(INFER, content=b"x")).status_code == 401
    assert (await client.post(INFER, content=b"x", headers={"Authorization": wrong})).status_code == 401
    twice = [("Authorization", text), ("X-API-Key", "x")]
    assert (await client.post(INFER, content=b"x", headers=twice)).status_code == 400
    reader = await bearer(keys, "models:read")
    for _ in range(2):
        assert (await client.post(INFER, content=b"x", headers=reader)).status_code == 403
    assert taken == []


async def test_a_revoked_key_is_refused_when_its_memory_is_old(
    client: httpx.AsyncClient, keys: KeyStore, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, key = await keys.create("ada", ("models:run",))
    headers = {"X-API-Key": text}
    await client.post(INFER, content=b"x", headers=headers)
    await client.post(INFER, content=b"x", headers=headers)
    assert taken == ["tiny"]
    await keys.revoke(key.id)
    monkeypatch.setattr(authentication, "FRESH_S", 0.0)
    assert (await client.post(INFER, content=b"x", headers=headers)).status_code == 401
    assert taken == ["tiny"]


async def test_the_audit_log_names_the_key(client: httpx.AsyncClient, keys: KeyStore, taken: list[str]) -> None:
    text, key = await keys.create("ada", ("models:run",))
    for _ in range(2):
        await client.post(INFER, content=b"x", headers={"X-API-Key": text})
    admin = await bearer(keys, "admin")
    found: list[dict[str, Any]] = []
    for _ in range(100):
        found = (await client.get("/v1/audit", headers=admin)).json()["entries"]
        if sum(entry["key"] == key.id for entry in found) == 2:
            break
    entries = [entry for entry in found if entry["key"] == key.id]
    assert len(taken) == 1
    assert [(entry["caller"], entry["path"], entry["status"], entry["bytes"]) for entry in entries] == [
        ("ada", INFER, 200, 1)
    ] * 2
    assert len({entry["digest"] for entry in entries}) == 1
