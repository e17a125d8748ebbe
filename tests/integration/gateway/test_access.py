"""Keys, quotas and the log of a real gateway over a real Redis."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request
from pydantic import SecretStr

from gateway.app import create_app
from services.declarations import declared_capabilities
from shared.access.keys import KeyStore
from shared.access.scopes import AccessPolicy
from shared.http.fleet import FLEET_TOKEN_HEADER
from shared.jobs.connection import api_client
from shared.jobs.kinds import JobKind, JobKinds
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.integration.gateway.keys import bearer
from tests.support.serving import running
from tests.support.wires import HttpxWire

RUN = "/v1/medical/ct/reconstructions"
CAPABILITIES = declared_capabilities()


class Unpublished:
    def publish(self, job_id: str, *, queue: str, time_limit_s: int) -> None:
        pass


def service() -> FastAPI:
    """A domain's service that says what it was told of the caller."""
    app = FastAPI(openapi_url=None)

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def tell(request: Request) -> dict[str, Any]:
        return {"size": len(await request.body()), "headers": dict(request.headers)}

    return app


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        redis_url=redis_url, blob_url=str(tmp_path), api_keys=True, fleet_token=SecretStr("between us"), quota_jobs=7
    )


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with running(
        create_app(settings, wire=HttpxWire(httpx.ASGITransport(service())), capabilities=CAPABILITIES)
    ) as started:
        yield started


def app_of(client: httpx.AsyncClient) -> FastAPI:
    app = client._transport.app  # type: ignore[attr-defined]
    assert isinstance(app, FastAPI)
    return app


async def test_a_good_key_reaches_the_service_as_its_owner(client: httpx.AsyncClient, keys: KeyStore) -> None:
    headers = await bearer(keys, "medical:run")
    forged = {
        "Facet-Caller": "eve",
        "Facet-Job-Limit": "999",
        "Facet-Creation-Key": "0" * 64,
        FLEET_TOKEN_HEADER: "guess",
    }
    answer = await client.post(RUN, content=b"scan", headers=headers | forged)
    assert answer.status_code == 200
    told = answer.json()["headers"]
    assert (told["facet-caller"], told["facet-job-limit"]) == ("ada", "7")
    assert told[FLEET_TOKEN_HEADER.lower()] == "between us"
    assert not {"authorization", "x-api-key", "facet-creation-key"} & told.keys()
    other = await client.post(RUN, headers={"X-API-Key": headers["Authorization"].removeprefix("Bearer ")})
    assert other.status_code == 200


async def test_without_a_good_key(client: httpx.AsyncClient, keys: KeyStore) -> None:
    good = (await bearer(keys, "medical:run"))["Authorization"]
    bare = await client.post(RUN)
    assert bare.status_code == 401
    assert bare.headers["WWW-Authenticate"] == 'Bearer realm="facet"'
    for wrong in (
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        "Bearer facet_000000000000_" + "s" * 43,
        "Basic YTpi",
        "Bearer",
    ):
        answer = await client.post(RUN, headers={"Authorization": wrong})
        assert answer.status_code == 401, wrong
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert (await client.post(RUN, headers=[("Authorization", good), ("X-API-Key", "x")])).status_code == 400


async def test_the_body_of_a_stranger_is_not_read(client: httpx.AsyncClient) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield bytes(1000)

    answer = await client.post(RUN, content=body())
    assert answer.status_code == 401
    assert answer.json()["detail"].startswith("This route needs an API key")


async def test_the_missing_scope_is_named(client: httpx.AsyncClient, keys: KeyStore) -> None:
    answer = await client.post(RUN, headers=await bearer(keys, "medical:read", "jobs:read"))
    assert answer.status_code == 403
    assert "lacks the scope medical:run" in answer.json()["detail"]
    assert 'scope="medical:run"' in answer.headers["WWW-Authenticate"]


async def test_what_is_open_to_everybody(client: httpx.AsyncClient) -> None:
    for path in ("/", "/health/live", "/docs", "/openapi.json"):
        assert (await client.get(path)).status_code == 200, path
    for path in ("/metrics", "/v1/jobs", "/v1/models", "/v1/webhooks", "/v1/audit", "/nowhere"):
        assert (await client.get(path)).status_code == 401, path


async def test_every_route_of_the_document_has_a_rule(client: httpx.AsyncClient) -> None:
    document, access = (await client.get("/openapi.json")).json(), AccessPolicy(CAPABILITIES)
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, item in document["paths"].items():
        for method, operation in item.items():
            needed = access.needed_scope(method.upper(), path)
            assert operation.get("x-scope", "") == needed
            for_admins = path.startswith(("/v1/audit", "/v1/models", "/v2/repository/models/"))
            assert needed != "admin" or for_admins, f"{method} {path} has no rule of its own"


async def test_a_revoked_key_is_refused(
    client: httpx.AsyncClient, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, key = await keys.create("ada", ["medical:run"])
    headers = {"Authorization": f"Bearer {text}"}
    assert (await client.post(RUN, headers=headers)).status_code == 200
    await keys.revoke(key.id)
    monkeypatch.setattr("gateway.access.authentication.FRESH_S", 0.0)
    answer = await client.post(RUN, headers=headers)
    assert answer.status_code == 401
    assert "was revoked" in answer.json()["detail"]


async def test_guessing_is_slowed_down(client: httpx.AsyncClient, keys: KeyStore) -> None:
    statuses = [(await client.post(RUN, headers={"Authorization": f"Bearer {n}"})).status_code for n in range(25)]
    assert statuses == [401] * 20 + [429] * 5
    assert (await client.get("/health/live")).status_code == 200


async def test_requests_run_out(client: httpx.AsyncClient, keys: KeyStore) -> None:
    headers = await bearer(keys, "medical:run", "jobs:read", requests_per_minute=3)
    answers = [await client.post(RUN, headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit"].split(",")[0].split(";")[1] for answer in answers] == [
        "r=2",
        "r=1",
        "r=0",
        "r=0",
    ]
    assert answers[0].headers["RateLimit-Policy"].startswith('"requests";q=3;w=60;qu="requests", "bytes";q=')
    assert '"jobs";q=7;qu="concurrent-requests"' in answers[0].headers["RateLimit-Policy"]
    refused = answers[-1]
    assert refused.json()["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert refused.json()["violated-policies"] == ["requests"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    # Reading has a quota of its own, and another owner's are untouched.
    assert (await client.get("/v1/jobs", headers=headers)).status_code == 200
    assert (await client.post(RUN, headers=await bearer(keys, "medical:run", owner="bob"))).status_code == 200


async def test_keys_of_one_owner_share_their_quota(client: httpx.AsyncClient, keys: KeyStore) -> None:
    first, second = [await bearer(keys, "medical:run", requests_per_minute=2) for _ in range(2)]
    assert [(await client.post(RUN, headers=given)).status_code for given in (first, second, first)] == [200, 200, 429]


async def test_bytes_run_out_whether_announced_or_not(client: httpx.AsyncClient, keys: KeyStore) -> None:
    announced = await bearer(keys, "medical:run", bytes_per_minute=1000)
    assert (await client.post(RUN, content=bytes(600), headers=announced)).status_code == 200
    assert (await client.post(RUN, content=bytes(600), headers=announced)).status_code == 429
    assert (await client.post(RUN, content=bytes(300), headers=announced)).status_code == 200
    streamed = await bearer(keys, "medical:run", owner="bob", bytes_per_minute=1000)

    async def body() -> AsyncIterator[bytes]:
        yield bytes(1500)

    assert (await client.post(RUN, content=body(), headers=streamed)).status_code == 200
    assert (await client.post(RUN, content=b"x", headers=streamed)).status_code == 429


async def test_jobs_are_their_owners_and_an_admin_sees_all(
    client: httpx.AsyncClient, keys: KeyStore, settings: Settings
) -> None:
    redis = api_client(settings.redis_url)
    kind = JobKind(name="medical.test", queue="medical.onnx", function="tests:none", title="A test")
    await redis.zadd("facet:queue:medical.onnx:workers", {"w": 1e15})
    store = JobStore(redis, JobKinds([kind]), settings, publisher=Unpublished())
    job = (await store.create(kind, {}, owner="ada")).id
    await redis.aclose()
    scopes = ("jobs:read", "jobs:write")
    ada, bob = await bearer(keys, *scopes), await bearer(keys, *scopes, owner="bob")
    admin = await bearer(keys, "admin", owner="root")
    assert (await client.get(f"/v1/jobs/{job}", headers=ada)).status_code == 200
    assert (await client.get(f"/v1/jobs/{job}", headers=bob)).status_code == 404
    assert (await client.delete(f"/v1/jobs/{job}", headers=bob)).status_code == 404
    assert (await client.get("/v1/jobs", headers=bob)).json()["jobs"] == []
    assert [row["id"] for row in (await client.get("/v1/jobs", headers=admin)).json()["jobs"]] == [job]
    assert (await client.delete(f"/v1/jobs/{job}", headers=admin)).status_code == 200


async def test_the_log_says_who_ran_what(client: httpx.AsyncClient, keys: KeyStore) -> None:
    headers = await bearer(keys, "medical:run")
    await client.post(RUN, content=b"scan", headers=headers | {"X-Request-ID": "asked-1"})
    await client.post(RUN)
    await client.get("/health/live")
    admin = await bearer(keys, "admin", owner="root")
    await app_of(client).state.gateway.audit.drain()
    first = await client.get("/v1/audit?limit=1", headers=admin)
    second = await client.get(first.links["next"]["url"], headers=admin)
    (refused,), (ran,) = first.json()["entries"], second.json()["entries"]
    assert (refused["status"], refused["caller"], refused["digest"]) == (401, "anonymous", "")
    assert (ran["status"], ran["caller"], ran["request_id"], ran["path"]) == (200, "ada", "asked-1", RUN)
    assert ran["digest"] == f"sha256:{hashlib.sha256(b'scan').hexdigest()}"
    assert ran["bytes"] == 4
    assert ran["key"] == headers["Authorization"].split("_")[1]
    assert "next" not in second.links
    assert (await client.get("/v1/audit?cursor=x", headers=admin)).status_code == 422


async def test_without_keys_the_log_is_kept_all_the_same(settings: Settings) -> None:
    open_to_all = settings.model_copy(update={"api_keys": False})
    async with running(create_app(open_to_all, wire=HttpxWire(httpx.ASGITransport(service())))) as client:
        answer = await client.post(RUN, content=b"scan")
        assert "RateLimit" not in answer.headers
        await app_of(client).state.gateway.audit.drain()
        (entry,) = (await client.get("/v1/audit")).json()["entries"]
    assert (entry["caller"], entry["key"], entry["status"]) == ("anonymous", "", 200)


async def test_without_redis_a_known_key_goes_on(settings: Settings, keys: KeyStore) -> None:
    app = create_app(settings, wire=HttpxWire(httpx.ASGITransport(service())), capabilities=CAPABILITIES)
    headers, stranger = await bearer(keys, "medical:run"), await bearer(keys, "medical:run", owner="bob")
    async with running(app) as client:
        assert (await client.post(RUN, headers=headers)).status_code == 200
        pool = app.state.gateway.audit._redis.connection_pool
        await pool.disconnect()
        pool.connection_kwargs["port"] = 1  # nobody listens there
        for connection in [*pool._available_connections, *pool._in_use_connections]:
            connection.port = 1
        assert (await client.post(RUN, headers=headers)).status_code == 200
        assert (await client.post(RUN, headers=stranger)).status_code == 503
