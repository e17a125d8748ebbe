"""The order of the edge: key, admission, body, call, entry; what refusals leave in the log and not in memory."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from gateway.request_bodies.reader import ClientDisconnected, RequestBody
from shared.access.audit import Entry
from shared.access.keys import KeyStore
from shared.problems import ReducedCapacity
from shared.settings import Settings
from tests.integration.gateway.edges import EdgeParts, edge_around
from tests.integration.gateway.keys import bearer
from tests.unit.gateway.edge.channels import channel, scope_of

PATH = "/v1/medical/ct/reconstructions"


@dataclass
class RecordingCall:
    """Answers as a service does, and keeps what it was asked."""

    bodies: list[bytes] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    fails: Exception | None = None
    parts: int = 1

    async def __call__(self, scope: Scope, body: RequestBody, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.bodies.append(b"".join([chunk async for chunk in body.chunks()]))
        if self.fails is not None:
            raise self.fails
        headers = [(b"location", b"https://facet.example/v1/jobs/0198")] if b"job" in scope["query_string"] else []
        if b"note" in scope["query_string"]:
            headers.append((b"facet-audit-note", b"a test%2C allowed by %C3%84nne"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(self.parts):
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@dataclass
class Answer:
    """What was sent."""

    messages: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        starts = [message["status"] for message in self.messages if message["type"] == "http.response.start"]
        assert len(starts) == 1
        status: int = starts[0]
        return status

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode().lower(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def is_complete(self) -> bool:
        return not self.messages[-1].get("more_body", False)


async def nobody(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("the gateway's own routes are not asked")


@dataclass
class Harness:
    """An edge before a call.

    Attributes:
        parts: the edge.
        call: behind it.
    """

    parts: EdgeParts
    call: RecordingCall

    async def ask(self, *body: bytes, then: str = "end", **options: Any) -> Answer:
        """Send a request; a body without a length comes in chunks."""
        headers = [*options.pop("headers", {}).items()]
        if not any(name.lower() == "content-length" for name, _ in headers) and body:
            headers.append(("Transfer-Encoding", "chunked"))
        scope = scope_of(("Host", "localhost"), *headers, path=PATH, **options)
        answer = Answer()
        await self.parts.edge(scope, channel(*body, then=then), answer.send)
        assert (self.parts.bodies.memory.used, self.parts.bodies.disk.used) == (0, 0), "a body is still counted"
        return answer

    async def entry(self) -> Entry:
        """The one entry of the log."""
        (entry,) = await self.parts.entries()
        return entry


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None, redis_url=redis_url, blob_url=str(tmp_path), spool_bytes=1000, upload_limit_bytes=100_000
    )


@asynccontextmanager
async def harness_of(settings: Settings, **values: Any) -> AsyncIterator[Harness]:
    call = RecordingCall()
    async with edge_around(nobody, settings.model_copy(update=values), call=call) as parts:
        yield Harness(parts, call)


@pytest.fixture
async def edge(settings: Settings) -> AsyncIterator[Harness]:
    async with harness_of(settings) as made:
        yield made


@pytest.fixture
async def keyed(settings: Settings) -> AsyncIterator[Harness]:
    async with harness_of(settings, api_keys=True) as made:
        yield made


def with_length(body: bytes) -> dict[str, str]:
    return {"Content-Length": str(len(body))}


# What reaches the call, and what the log is told.


@pytest.mark.parametrize("size", [0, 1, 1000, 1001, 100_000])
async def test_the_log_has_digest_and_size_wherever_the_body_was(edge: Harness, size: int) -> None:
    body = bytes(range(250)) * 400
    body = body[:size]
    assert (await edge.ask(body, headers=with_length(body))).status == 200
    assert edge.call.bodies == [body]
    entry = await edge.entry()
    assert (entry.status, entry.bytes, entry.method, entry.path) == (200, size, "POST", PATH)
    assert entry.digest == (f"sha256:{hashlib.sha256(body).hexdigest()}" if size else "")


async def test_a_compressed_body_is_logged_as_it_is_read(edge: Harness) -> None:
    packed = gzip.compress(b"scan" * 1000)
    await edge.ask(packed, headers=with_length(packed) | {"Content-Encoding": "gzip"})
    assert edge.call.bodies == [b"scan" * 1000]
    entry = await edge.entry()
    assert (entry.bytes, entry.digest) == (4000, f"sha256:{hashlib.sha256(b'scan' * 1000).hexdigest()}")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "PATCH"])
async def test_a_body_comes_along_with_any_method(edge: Harness, method: str) -> None:
    assert (await edge.ask(b"body", headers=with_length(b"body"), method=method)).status == 200
    assert edge.call.bodies == [b"body"]
    assert len(await edge.parts.entries()) == (method not in {"GET", "HEAD"})


async def test_without_a_body_nothing_is_waited_for(edge: Harness) -> None:
    """Neither length nor chunks: a channel that says nothing must not hold the request up."""
    async with asyncio.timeout(5):
        assert (await edge.ask(then="hang", headers={"Content-Length": "00"})).status == 200
    assert edge.call.bodies == [b""]


async def test_the_job_of_an_answer_is_logged(edge: Harness) -> None:
    answer = Answer()
    scope = {**scope_of(("Host", "localhost"), path=PATH), "query_string": b"job"}
    await edge.parts.edge(scope, channel(), answer.send)
    assert (await edge.entry()).job == "/v1/jobs/0198"


# Who leaves, who does not read.


async def test_what_a_service_puts_on_record_is_logged_and_not_told_the_caller(edge: Harness) -> None:
    answer = Answer()
    scope = {**scope_of(("Host", "localhost"), path=PATH), "query_string": b"note"}
    await edge.parts.edge(scope, channel(), answer.send)
    assert "facet-audit-note" not in answer.headers
    assert (await edge.entry()).note == "a test, allowed by \u00c4nne"


async def test_a_body_that_ends_early_is_400_and_asks_no_service(edge: Harness) -> None:
    assert (await edge.ask(b"half", then="leave", headers={"Content-Length": "100"})).status == 400
    assert edge.call.scopes == []
    entry = await edge.entry()
    assert (entry.status, entry.digest, entry.bytes) == (400, "", 0)


async def test_who_leaves_while_it_waits_is_499_with_the_digest(edge: Harness) -> None:
    edge.call.fails = ClientDisconnected()
    await edge.ask(b"scan", headers=with_length(b"scan"))
    entry = await edge.entry()
    assert (entry.status, entry.digest) == (499, f"sha256:{hashlib.sha256(b'scan').hexdigest()}")


async def test_who_does_not_read_is_given_up_in_the_middle(settings: Settings) -> None:
    async with harness_of(settings, send_timeout_s=0.05) as edge:
        edge.call.parts = 100
        answer = Answer()
        stuck = asyncio.Event()

        async def send(message: Message) -> None:
            if len(answer.messages) == 4:
                await stuck.wait()
            await answer.send(message)

        scope = scope_of(("Host", "localhost"), ("Content-Length", "4"), path=PATH)
        async with asyncio.timeout(5):
            await edge.parts.edge(scope, channel(b"scan"), send)
        assert len(answer.messages) == 4
        assert not answer.is_complete, "what was not sent to its end must not pass for whole"
        assert (edge.parts.bodies.memory.used, (await edge.entry()).status) == (0, 200)


async def test_an_error_of_the_gateways_own_gives_the_body_back(edge: Harness) -> None:
    edge.call.fails = RuntimeError("it broke")
    with pytest.raises(RuntimeError, match="it broke"):
        await edge.parts.edge(
            scope_of(("Host", "localhost"), ("Content-Length", "2000"), path=PATH), channel(b"x" * 2000), Answer().send
        )
    assert (edge.parts.bodies.memory.used, edge.parts.bodies.disk.used) == (0, 0)


# Refusals.


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Length": "100001"}, b"x" * 100_001, 413),
        ({}, b"x" * 100_001, 413),
        ({"Content-Encoding": "br", "Content-Length": "1"}, b"x", 415),
        ({"Content-Encoding": "gzip", "Content-Length": "1"}, b"x", 400),
        ({"X-Large": "x" * 70_000, "Content-Length": "1"}, b"x", 431),
        ({"Transfer-Encoding": "gzip, chunked"}, b"x", 501),
    ],
)
async def test_what_is_refused_is_a_problem_and_an_entry(
    edge: Harness, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = await edge.ask(body, headers=headers)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.is_complete
    assert edge.call.scopes == []
    entry = await edge.entry()
    assert (entry.status, entry.digest, entry.bytes) == (status, "", 0)


async def test_after_a_refusal_the_rest_of_a_small_body_is_taken(keyed: Harness) -> None:
    """So that its connection can be used again; the answer does not wait for it."""
    answer, answered_after = Answer(), []
    parts = [b"x" * 1000] * 5

    async def receive() -> Message:
        answered_after.append(answer.is_complete)
        return {"type": "http.request", "body": parts.pop(), "more_body": bool(parts)}

    scope = scope_of(("Host", "localhost"), ("Content-Length", "5000"), path=PATH)
    await keyed.parts.edge(scope, receive, answer.send)
    assert (answer.status, parts) == (401, [])
    assert answered_after == [True] * 5


async def test_the_rest_of_a_large_body_is_not(keyed: Harness) -> None:
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        taken += 65536
        return {"type": "http.request", "body": bytes(65536), "more_body": True}

    answer = Answer()
    scope = scope_of(("Host", "localhost"), ("Transfer-Encoding", "chunked"), path=PATH)
    await keyed.parts.edge(scope, receive, answer.send)
    assert answer.status == 401
    assert taken <= 1024**2 + 2 * 65536


async def test_nobody_waits_long_for_the_rest(keyed: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.edge.application._DRAIN_S", 0.05)
    async with asyncio.timeout(5):
        assert (await keyed.ask(b"x", then="hang", headers={"Content-Length": "100"})).status == 401


# Keys, quotas, admission.


async def test_a_key_without_the_scope_is_403_before_the_body_is_read(keyed: Harness, keys: KeyStore) -> None:
    headers = await bearer(keys, "jobs:read") | with_length(b"scan")
    assert (await keyed.ask(b"scan", headers=headers)).status == 403
    assert keyed.call.scopes == []
    entry = await keyed.entry()
    assert (entry.status, entry.caller, entry.digest) == (403, "ada", "")


async def test_refused_reading_is_logged_too(keyed: Harness, keys: KeyStore) -> None:
    assert (await keyed.ask(method="GET")).status == 401
    assert (await keyed.ask(method="GET", headers=await bearer(keys, "jobs:read"))).status == 403
    assert [entry.status for entry in await keyed.parts.entries()] == [401, 403]


@pytest.mark.parametrize("size", [600, 60_000])
async def test_bodies_in_chunks_are_charged_once_they_are_there(keyed: Harness, keys: KeyStore, size: int) -> None:
    headers = await bearer(keys, "medical:run", bytes_per_minute=size)
    first = await keyed.ask(b"x" * size, headers=headers)
    assert first.status == 200
    assert first.headers["ratelimit"].startswith('"requests"')
    again = await keyed.ask(b"x", headers=headers | with_length(b"x"))
    assert again.status == 429
    assert len(keyed.call.bodies) == 1


async def test_a_full_service_is_known_before_the_body_is_read(edge: Harness) -> None:
    edge.parts.admission.enter(PATH)
    full = ReducedCapacity("All places are taken.", retry_after_s=3)
    body = b'{"type": "%b", "detail": "All places are taken."}' % full.registered_type.encode()
    edge.parts.admission.learn(PATH, before=0, headers=[(b"Retry-After", b"3")], body=body)
    answer = await edge.ask(b"scan", headers=with_length(b"scan"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "3")
    assert edge.call.scopes == []
    assert (await edge.ask(method="GET")).status == 200, "reading takes no place"
    edge.parts.admission.leave(PATH)
    assert (await edge.ask(b"scan", headers=with_length(b"scan"))).status == 200
