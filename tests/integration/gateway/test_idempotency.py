"""Keys against a real Redis: executed once, answered as often as asked, and free again where nothing was settled."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.idempotency.store import IdempotencyStore, StoredAnswer
from shared.jobs.connection import api_client
from shared.request_context import bound, current_context, new_context
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.integration.gateway.edges import EdgeParts, edge_around

KEY = {"Idempotency-Key": '"order-1"'}


class Work:
    """An application that counts what it does. The query of a request says how it is to end."""

    def __init__(self) -> None:
        self.count = 0
        self.creation_keys: list[str | None] = []
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        self.count += 1
        context = current_context()
        self.creation_keys.append(context.creation_key if context else None)
        self.begun.set()
        await self.go_on.wait()
        asked = httpx.QueryParams(scope["query_string"].decode())
        if "raise" in asked:
            raise RuntimeError("it broke")
        body = b"%d:" % self.count + message["body"] + bytes(range(256)) * int(asked.get("size", 0))
        headers = [(b"content-type", b"image/png"), (b"location", b"/v1/jobs/1"), (b"server-timing", b"infer;dur=1")]
        await send({"type": "http.response.start", "status": int(asked.get("status", 200)), "headers": headers})
        await send({"type": "http.response.body", "body": body[:3], "more_body": True})
        await send({"type": "http.response.body", "body": body[3:], "more_body": False})


def as_caller(app: ASGIApp) -> ASGIApp:
    """What the layer of access does: the header says who asks."""

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        name = dict(scope["headers"]).get(b"x-test-caller", b"anonymous").decode()
        with bound(replace(new_context(), caller=name)):
            await app(scope, receive, send)

    return named


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None, redis_url=redis_url, blob_url=str(tmp_path), idempotency_retention_s=3600, spool_bytes=1000
    )


@pytest_asyncio.fixture
async def store(settings: Settings) -> AsyncIterator[IdempotencyStore]:
    redis = api_client(settings.redis_url)
    yield IdempotencyStore(redis, BlobStore(settings.blob_url), settings)
    await redis.aclose()


@pytest_asyncio.fixture
async def parts(settings: Settings, work: Work) -> AsyncIterator[EdgeParts]:
    async with edge_around(work, settings) as made:
        yield made


@pytest_asyncio.fixture
async def client(parts: EdgeParts) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(as_caller(parts.edge), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as started:
        yield started


async def test_executed_once_and_answered_twice(client: httpx.AsyncClient, work: Work) -> None:
    first = await client.post("/v1/x", content=b"picture", headers=KEY)
    second = await client.post("/v1/x", content=b"picture", headers=KEY)
    assert work.count == 1
    assert (first.status_code, first.content) == (second.status_code, second.content) == (200, b"1:picture")
    assert second.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Location"] == first.headers["Location"] == "/v1/jobs/1"
    assert "Server-Timing" not in second.headers
    left = [parsedate_to_datetime(answer.headers["Idempotency-Expires"]).timestamp() for answer in (first, second)]
    assert abs(left[0] - left[1]) <= 1


@pytest.mark.parametrize("size", [0, 200, 2000])
async def test_large_answers_come_back_byte_for_byte(client: httpx.AsyncClient, size: int) -> None:
    first, second = [await client.post(f"/v1/x?size={size}", headers=KEY) for _ in range(2)]
    assert len(first.content) >= size * 256
    assert first.content == second.content


async def test_another_request_with_the_same_key(client: httpx.AsyncClient, work: Work) -> None:
    await client.post("/v1/x", content=b"a", headers=KEY)
    for path, body in (("/v1/x", b"b"), ("/v1/y", b"a"), ("/v1/x?a=1", b"a")):
        answer = await client.post(path, content=body, headers=KEY)
        assert answer.status_code == 422
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert work.count == 1


async def test_an_upload_repeated_with_another_boundary(client: httpx.AsyncClient, work: Work) -> None:
    answers = [await client.post("/v1/x", files={"file": ("a.png", b"same")}, headers=KEY) for _ in range(2)]
    assert work.count == 1
    assert answers[0].content == answers[1].content
    assert answers[0].request.headers["Content-Type"] != answers[1].request.headers["Content-Type"]


async def test_callers_do_not_meet(client: httpx.AsyncClient, work: Work) -> None:
    for name in ("ada", "bob"):
        answer = await client.post("/v1/x", content=name.encode(), headers=KEY | {"X-Test-Caller": name})
        assert answer.status_code == 200
    assert work.count == 2
    assert work.creation_keys[0] != work.creation_keys[1]


async def test_twenty_at_once(client: httpx.AsyncClient, work: Work) -> None:
    work.go_on.clear()
    asked = [asyncio.create_task(client.post("/v1/x", content=b"a", headers=KEY)) for _ in range(20)]
    await work.begun.wait()
    while sum(task.done() for task in asked) < 19:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    work.go_on.set()
    answers = await asyncio.gather(*asked)
    assert work.count == 1
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 409)
    assert (await client.post("/v1/x", content=b"a", headers=KEY)).content == b"1:a"


@pytest.mark.parametrize("status", [201, 202, 400, 406, 413, 415, 422])
async def test_what_the_request_determines_is_kept(client: httpx.AsyncClient, work: Work, status: int) -> None:
    for _ in range(2):
        assert (await client.post(f"/v1/x?status={status}", headers=KEY)).status_code == status
    assert work.count == 1


@pytest.mark.parametrize("status", [401, 403, 404, 409, 429, 500, 502, 503, 504])
async def test_after_anything_else_a_retry_runs(client: httpx.AsyncClient, work: Work, status: int) -> None:
    for _ in range(2):
        answer = await client.post(f"/v1/x?status={status}", headers=KEY)
        assert answer.status_code == status
        assert "Idempotency-Replayed" not in answer.headers
    assert work.count == 2
    assert work.creation_keys[0] == work.creation_keys[1] is not None


async def test_an_application_that_breaks_frees_the_key(client: httpx.AsyncClient, work: Work) -> None:
    assert (await client.post("/v1/x?raise=1", headers=KEY)).status_code == 500
    assert (await client.post("/v1/x?raise=1", headers=KEY)).status_code == 500
    assert work.count == 2


def posted(length: int) -> Scope:
    """A POST with a key."""
    return {
        "type": "http", "method": "POST", "path": "/v1/x", "query_string": b"", "client": None, "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"idempotency-key", b"k"), (b"content-length", b"%d" % length)],
    }  # fmt: skip


async def test_a_caller_who_leaves_finds_its_answer(parts: EdgeParts, work: Work) -> None:
    """The server tells of the disconnect; the work goes on and its answer is kept."""
    work.go_on.clear()
    incoming: list[dict[str, Any]] = [{"type": "http.request", "body": b"a"}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    running = asyncio.create_task(parts.edge(posted(1), receive, send))
    await work.begun.wait()
    assert [message["type"] for message in incoming] == ["http.disconnect"]
    work.go_on.set()
    await running
    incoming = [{"type": "http.request", "body": b"a"}]
    await parts.edge(posted(1), receive, send)
    assert work.count == 1
    assert [message["body"] for message in sent if message["type"] == "http.response.body"] == [b"1:a", b"1:a"]


async def test_a_caller_who_leaves_while_uploading_takes_nothing(
    parts: EdgeParts, store: IdempotencyStore, work: Work
) -> None:
    incoming: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await parts.edge(posted(100), receive, send)
    assert [message.get("status") for message in sent] == [400, None]
    assert work.count == 0
    assert (await store.claim("anonymous", "k", "any")).outcome == "claimed"


async def test_bodies_on_disk_are_told_apart_and_given_back(
    client: httpx.AsyncClient, parts: EdgeParts, work: Work
) -> None:
    large = bytes(range(256)) * 64
    first, again = [await client.post("/v1/x", content=large, headers=KEY) for _ in range(2)]
    assert first.content == again.content == b"1:" + large
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await client.post("/v1/x", content=large[:-1] + b"!", headers=KEY)).status_code == 422
    assert work.count == 1
    assert (parts.bodies.memory.used, parts.bodies.disk.used) == (0, 0)


async def test_an_answer_too_large_to_store_is_passed_on(
    client: httpx.AsyncClient, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.idempotency.runner._LARGEST_ANSWER", 100_000)
    for count in (1, 2):
        answer = await client.post("/v1/x?size=2000", content=b"a", headers=KEY)
        assert answer.content == b"%d:a" % count + bytes(range(256)) * 2000
        assert "Idempotency-Replayed" not in answer.headers


async def test_a_gateway_that_died_holds_its_key_for_its_lease_only(store: IdempotencyStore, redis_url: str) -> None:
    dead = await store.claim("ada", "k", "f")
    assert (await store.claim("ada", "k", "f")).outcome == "running"
    redis = api_client(redis_url)
    await redis.hset(dead.key, "lease_until", 0)
    await redis.aclose()
    heir = await store.claim("ada", "k", "f")
    assert heir.outcome == "claimed"
    assert not await store.renew(dead)
    await store.finish(dead, StoredAnswer(200, [], b"late"))
    await store.finish(heir, StoredAnswer(200, [], b"heir"))
    assert (await store.answer(heir)).body == b"heir"


async def test_a_running_request_keeps_its_key(store: IdempotencyStore, redis_url: str) -> None:
    claim = await store.claim("ada", "k", "f")
    redis = api_client(redis_url)
    before = int((await redis.hget(claim.key, "lease_until")) or 0)
    await asyncio.sleep(0.01)
    assert await store.renew(claim)
    assert int((await redis.hget(claim.key, "lease_until")) or 0) > before
    assert 3590 < await redis.ttl(claim.key) <= 3600
    await redis.aclose()


async def test_an_answer_that_was_deleted(client: httpx.AsyncClient, work: Work, tmp_path: Path) -> None:
    await client.post("/v1/x?size=2000", headers=KEY)
    await asyncio.to_thread(shutil.rmtree, tmp_path)
    assert (await client.post("/v1/x?size=2000", headers=KEY)).status_code == 410
    assert work.count == 1


async def test_other_methods_and_requests_without_a_key_pass(client: httpx.AsyncClient, work: Work) -> None:
    for _ in range(2):
        await client.put("/v1/x", headers=KEY)
        await client.post("/v1/x")
    assert work.count == 4
    assert work.creation_keys == [None] * 4


async def test_without_redis_a_key_is_refused_and_the_rest_goes_on(work: Work, settings: Settings) -> None:
    alone = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with (
        edge_around(work, alone) as parts,
        httpx.AsyncClient(transport=httpx.ASGITransport(parts.edge), base_url="http://localhost") as client,
    ):
        answer = await client.post("/v1/x", headers=KEY)
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        assert (await client.post("/v1/x")).status_code == 200
    assert work.count == 1


async def test_malformed(client: httpx.AsyncClient, work: Work) -> None:
    answer = await client.post("/v1/x", headers={"Idempotency-Key": "two words"})
    assert answer.status_code == 400
    assert work.count == 0
