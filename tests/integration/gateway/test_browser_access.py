"""What browsers meet at a real gateway: CORS, signed links to events, names and origins, HEAD."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from gateway.app import create_app
from shared.access.keys import KeyStore
from shared.settings import Settings
from tests.integration.gateway.conftest import Bench
from tests.integration.gateway.keys import bearer
from tests.integration.gateway.servers import serve
from tests.support.serving import PATIENCE_S

CONSOLE = "https://console.example"


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        redis_url=redis_url,
        blob_url=str(tmp_path / "blobs"),
        api_keys=True,
        fleet_token=SecretStr("between us"),
        cors_origins=(CONSOLE,),
    )


@pytest.fixture
def open_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_keys": False})


@pytest.fixture
def open_url(open_settings: Settings) -> Iterator[str]:
    """A gateway without keys."""
    with serve(create_app(open_settings)) as url:
        yield url


@pytest.fixture
async def open_client(open_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=open_url, timeout=30) as client:
        yield client


PREFLIGHT = {
    "Origin": CONSOLE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}


async def test_a_preflight_is_answered_before_any_key(client: httpx.AsyncClient) -> None:
    answer = await client.options("/v1/medical/ct/enhancements", headers=PREFLIGHT)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, CONSOLE)
    allowed = answer.headers["access-control-allow-headers"]
    assert {"authorization", "content-type", "idempotency-key"} == set(allowed.split(","))
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_preflight_of_another_origin_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.options("/v1/jobs", headers={**PREFLIGHT, "Origin": "https://evil.example"})
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers


async def test_answers_and_refusals_can_be_read_by_the_named_origin_only(
    client: httpx.AsyncClient, keys: KeyStore
) -> None:
    key = await bearer(keys, "jobs:read")
    for headers, status in ((key, 200), ({}, 401)):
        answer = await client.get("/v1/jobs", headers={**headers, "Origin": CONSOLE})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, CONSOLE)
        assert {"Location", "RateLimit", "X-Request-ID", "ETag"} <= {
            name.strip() for name in answer.headers["access-control-expose-headers"].split(",")
        }
        other = await client.get("/v1/jobs", headers={**headers, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_without_the_setting_there_is_no_cors(redis_url: str, tmp_path: Path) -> None:
    app = create_app(Settings(_env_file=None, redis_url=redis_url, blob_url=str(tmp_path / "blobs")))
    with serve(app) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.options("/v1/jobs", headers=PREFLIGHT)).status_code == 405
            answer = await client.get("/v1/jobs", headers={"Origin": CONSOLE})
    assert "access-control-allow-origin" not in answer.headers


async def test_strangers_pages_change_nothing_and_named_ones_do(open_client: httpx.AsyncClient, bench: Bench) -> None:
    job = await bench.create()
    for headers in (
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
        {"Host": "rebind.evil.example", "Origin": "http://rebind.evil.example", "Sec-Fetch-Site": "same-origin"},
    ):
        refused = await open_client.delete(f"/v1/jobs/{job.id}", headers=headers)
        assert refused.status_code in {403, 421}
        assert refused.headers["content-type"] == "application/problem+json"
    assert (await open_client.get(f"/v1/jobs/{job.id}")).json()["status"] == "queued"
    allowed = {"Origin": CONSOLE, "Sec-Fetch-Site": "cross-site"}
    assert (await open_client.delete(f"/v1/jobs/{job.id}", headers=allowed)).status_code == 200


async def test_the_quick_way_has_the_same_rules(open_client: httpx.AsyncClient) -> None:
    for headers, status in (({"Origin": "https://evil.example"}, 403), ({"Host": "evil.example"}, 421)):
        answer = await open_client.post("/v2/models/traffic-signs/infer", json={"inputs": []}, headers=headers)
        assert answer.status_code == status


async def link_to(client: httpx.AsyncClient, job_id: str, key: dict[str, str]) -> str:
    answer = await client.post(f"/v1/jobs/{job_id}/events/links", headers=key)
    assert answer.status_code == 200
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    href: str = answer.json()["href"]
    return href


async def test_a_link_opens_events_without_a_key(client: httpx.AsyncClient, keys: KeyStore, bench: Bench) -> None:
    key = await bearer(keys, "jobs:read", owner="anonymous")
    attempt = await bench.start()
    href = await link_to(client, attempt.record.id, key)
    attempt.succeed({})
    events = await client.get(href, headers={"Origin": CONSOLE})
    assert (events.status_code, events.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert events.headers["referrer-policy"] == "no-referrer"
    assert events.headers["access-control-allow-origin"] == CONSOLE
    assert events.text.rstrip().splitlines()[-2] == "event: done"
    first = next(line for line in events.text.splitlines() if line.startswith("id: ")).removeprefix("id: ")
    again = await client.get(href, headers={"Last-Event-ID": first})
    assert again.status_code == 200
    assert f"id: {first}\n" not in again.text
    assert (await client.head(href)).status_code == 200


async def test_a_link_opens_nothing_else(client: httpx.AsyncClient, keys: KeyStore, bench: Bench) -> None:
    key = await bearer(keys, "jobs:read", owner="anonymous")
    job, other = await bench.create(), await bench.create()
    href = await link_to(client, job.id, key)
    query = href.partition("?")[2]
    for path in (f"/v1/jobs/{job.id}", f"/v1/jobs/{job.id}/result", f"/v1/jobs/{other.id}/events", "/v1/jobs"):
        assert (await client.get(f"{path}?{query}")).status_code == 401, path
    assert (await client.post(href)).status_code == 401
    assert (await client.delete(f"/v1/jobs/{job.id}?{query}")).status_code == 401
    changed = await client.get(href[:-1] + ("A" if href[-1] != "A" else "B"))
    assert (changed.status_code, "events/links" in changed.json()["detail"]) == (401, True)


async def test_links_are_made_for_jobs_that_one_may_see(
    client: httpx.AsyncClient, keys: KeyStore, bench: Bench
) -> None:
    job = await bench.create()
    path = f"/v1/jobs/{job.id}/events/links"
    assert (await client.post(path)).status_code == 401
    assert (await client.post(path, headers=await bearer(keys, "medical:run"))).status_code == 403
    assert (await client.post(path, headers=await bearer(keys, "jobs:read", owner="eve"))).status_code == 404
    assert (await client.post(path, headers=await bearer(keys, "admin", owner="root"))).status_code == 200


async def logged(capsys: pytest.CaptureFixture[str], last: str) -> str:
    """What a gateway has logged, up to the line of a route: lines are written in groups, a moment after answers."""
    found = ""
    async with asyncio.timeout(PATIENCE_S):
        while f'"route":"{last}"' not in found:
            await asyncio.sleep(0.02)
            captured = capsys.readouterr()
            found += captured.out + captured.err
    assert "/v1/jobs/{job_id}/events" in found
    return found


async def test_a_link_is_written_down_nowhere(
    client: httpx.AsyncClient, keys: KeyStore, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    key, admin = await bearer(keys, "jobs:read", owner="anonymous"), await bearer(keys, "admin", owner="root")
    attempt = await bench.start()
    attempt.succeed({})
    href = await link_to(client, attempt.record.id, key)
    assert (await client.get(href)).status_code == 200
    refused = await client.get(f"/v1/jobs?{href.partition('?')[2]}")
    assert refused.status_code == 401
    audit = (await client.get("/v1/audit", headers=admin)).text
    token = href.partition("link=")[2]
    assert "/events/links" in audit
    for text in (audit, await logged(capsys, "/v1/audit"), refused.text):
        assert token not in text
        assert token.rpartition(".")[2] not in text


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/docs/static/docs.js",
        "/openapi.json",
        "/health/live",
        "/metrics",
        "/v1/jobs",
        "/v2",
        "/v2/health/live",
    ],
)
async def test_head_is_answered_wherever_get_is(open_client: httpx.AsyncClient, path: str) -> None:
    head = await open_client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    # The connection is as good as before: nothing of a body has been written.
    assert (await open_client.get("/health/live")).json() == {"status": "alive"}


async def test_head_of_events_does_not_follow_them(open_client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    answer = await open_client.head(f"/v1/jobs/{attempt.record.id}/events", timeout=5)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


async def test_long_json_is_compressed_and_says_what_it_depends_on(open_client: httpx.AsyncClient) -> None:
    answer = await open_client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert (answer.headers["content-encoding"], answer.headers["etag"][:2]) == ("gzip", "W/")
    assert "accept-encoding" in answer.headers["vary"].lower()
    known = {"If-None-Match": answer.headers["etag"], "Accept-Encoding": "gzip"}
    assert (await open_client.get("/openapi.json", headers=known)).status_code == 304


async def test_the_id_of_a_load_balancer_is_used_and_told(open_client: httpx.AsyncClient) -> None:
    for given in ("Root=1-67891233-abcdef012345678912345678", "q83vEiM0RVZneJ+/=="):
        answer = await open_client.get("/v1/jobs/none", headers={"X-Request-ID": given})
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == given
    replaced = await open_client.get("/v1/jobs/none", headers={"X-Request-ID": 'a"b'})
    assert replaced.headers["x-request-id"] == replaced.json()["request_id"] != 'a"b'
