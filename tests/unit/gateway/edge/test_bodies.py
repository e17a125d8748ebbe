"""Bodies of every size, pace and ending: where they are held, what they count for, and how they are given on."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from starlette.types import Message, Receive

from gateway.request_bodies.reader import NO_BODY, BodyReader, RequestBody
from shared.capabilities.collection import BodyLimits
from shared.problems import BadRequest, ContentTooLarge, Problem, RequestTimeout, ServiceUnavailable
from shared.settings import Settings
from tests.unit.gateway.edge.channels import channel, scope_of

KIBIBYTE = 1024


def reader_of(**values: Any) -> BodyReader:
    small: dict[str, Any] = {
        "spool_bytes": KIBIBYTE,
        "held_limit_bytes": 4 * KIBIBYTE,
        "spool_limit_bytes": 64 * KIBIBYTE,
    }
    return BodyReader(Settings(_env_file=None, **(small | values)))


@asynccontextmanager
async def read(reader: BodyReader, receive: Receive, *headers: tuple[str, str]) -> AsyncIterator[RequestBody]:
    held = await reader.read(scope_of(*headers), receive)
    try:
        yield held.body
    finally:
        held.close()


async def content_of(body: RequestBody) -> bytes:
    return b"".join([chunk async for chunk in body.chunks()])


# Memory and disk.


@pytest.mark.parametrize(
    ("sizes", "on_disk"),
    [
        ([0], False),
        ([1], False),
        ([KIBIBYTE], False),
        ([KIBIBYTE + 1], True),
        ([500, 500, 24], False),
        ([500, 500, 24, 1], True),
        ([1] * 100, False),
        ([10 * KIBIBYTE, 0, 5], True),
    ],
)
async def test_small_bodies_are_in_memory_and_large_ones_on_disk(sizes: list[int], *, on_disk: bool) -> None:
    parts = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    whole, reader = b"".join(parts), reader_of()
    async with read(reader, channel(*parts)) as body:
        assert (body.file is not None) is on_disk
        assert body.size == len(whole)
        assert bytes(body.buffer()[:]) == whole
        for _ in range(2):
            assert await content_of(body) == whole
        assert body.digest == (f"sha256:{hashlib.sha256(whole).hexdigest()}" if whole else "")
        assert (reader.memory.used, reader.disk.used) == ((0, len(whole)) if on_disk else (len(whole), 0))
    assert (reader.memory.used, reader.disk.used) == (0, 0)


async def test_where_memory_is_used_up_small_bodies_go_to_disk() -> None:
    reader = reader_of(held_limit_bytes=1500)
    async with read(reader, channel(b"a" * 1000)) as first, read(reader, channel(b"b" * 600)) as second:
        assert first.file is None
        assert second.file is not None
        assert (reader.memory.used, reader.disk.used) == (1000, 600)
        assert await content_of(second) == b"b" * 600
    async with read(reader, channel(b"c" * 1000)) as third:
        assert third.file is None, "it was given back"


async def test_where_the_disk_is_used_up_bodies_are_refused() -> None:
    reader = reader_of(spool_limit_bytes=5000)
    async with read(reader, channel(b"a" * 3000)):
        with pytest.raises(ServiceUnavailable, match="fill the disk space"):
            await reader.read(scope_of(), channel(b"b" * 2000, b"b" * 2000))
        assert (reader.memory.used, reader.disk.used) == (0, 3000)
        async with read(reader, channel(b"c" * 2000)) as other:
            assert other.size == 2000


async def test_a_disk_without_space_is_no_fault_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path | None) -> BinaryIO:
        return cast("BinaryIO", Path("/dev/full").open("wb"))  # the kernel's disk that is always full

    monkeypatch.setattr("gateway.request_bodies.reader._temporary_file", full)
    reader = reader_of()
    with pytest.raises(ServiceUnavailable, match="no disk space"):
        await reader.read(scope_of(), channel(b"x" * 2000))
    assert (reader.memory.used, reader.disk.used) == (0, 0)


async def test_a_large_body_takes_little_memory() -> None:
    part = bytes(64 * KIBIBYTE)
    parts = (part for _ in range(1024))

    async def receive() -> Message:
        following = next(parts, None)
        return {"type": "http.request", "body": following or b"", "more_body": following is not None}

    reader = reader_of(spool_limit_bytes=2**30)
    tracemalloc.start()
    try:
        async with read(reader, receive) as body:
            assert body.size == 64 * 1024**2
            async for _ in body.chunks():
                pass
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024**2


# Limits.


async def test_a_length_over_the_limit_is_refused_before_a_byte_is_read() -> None:
    async def receive() -> Message:
        raise AssertionError("nothing is to be read")

    reader = reader_of(upload_limit_bytes=100)
    with pytest.raises(ContentTooLarge, match="larger than 100 bytes") as caught:
        await reader.read(scope_of(("Content-Length", "101")), receive)
    assert caught.value.headers["Connection"] == "close"


@pytest.mark.parametrize("parts", [[b"x" * 101], [b"x"] * 101, [b"x" * 100, b"x"]])
async def test_a_body_that_grows_over_the_limit_is_refused(parts: list[bytes]) -> None:
    reader = reader_of(upload_limit_bytes=100)
    with pytest.raises(ContentTooLarge):
        await reader.read(scope_of(("Transfer-Encoding", "chunked")), channel(*parts))
    assert (reader.memory.used, reader.disk.used) == (0, 0)


async def test_exactly_the_limit_is_taken_and_some_routes_take_more() -> None:
    reader = BodyReader(
        Settings(_env_file=None, upload_limit_bytes=100),
        limit_of=BodyLimits(100, {"/v1/uncertainty/calibrations": 200}),
    )
    async with read(reader, channel(b"x" * 100)) as body:
        assert body.size == 100
    held = await reader.read(scope_of(path="/v1/uncertainty/calibrations"), channel(b"x" * 200))
    held.close()
    assert held.body.size == 200


# Pace.


@pytest.mark.parametrize("parts", [[], [b"x"], [b"x" * 2000]])
async def test_a_body_that_stops_coming_is_408(parts: list[bytes]) -> None:
    reader = reader_of(body_timeout_s=0.05)
    with pytest.raises(RequestTimeout) as caught:
        await reader.read(scope_of(("Content-Length", "5000")), channel(*parts, then="hang"))
    assert caught.value.headers["Connection"] == "close"
    assert (reader.memory.used, reader.disk.used) == (0, 0)


async def test_a_body_that_drips_is_408_although_it_never_stops() -> None:
    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    reader = reader_of(body_timeout_s=0.15, body_least_bytes_per_s=1000)
    began = asyncio.get_running_loop().time()
    with pytest.raises(RequestTimeout):
        await reader.read(scope_of(), receive)
    assert 0.1 < asyncio.get_running_loop().time() - began < 2


async def test_a_slow_body_above_the_least_rate_is_taken() -> None:
    parts = iter([b"x" * 100] * 8)

    async def receive() -> Message:
        await asyncio.sleep(0.03)  # in all longer than the time of a stall
        following = next(parts, None)
        return {"type": "http.request", "body": following or b"", "more_body": following is not None}

    async with read(reader_of(body_timeout_s=0.15, body_least_bytes_per_s=100), receive) as body:
        assert body.size == 800


@pytest.mark.parametrize("parts", [[], [b"x"], [b"x" * 2000]])
async def test_who_leaves_leaves_nothing_behind(parts: list[bytes]) -> None:
    reader = reader_of()
    with pytest.raises(BadRequest, match="ended early"):
        await reader.read(scope_of(), channel(*parts, then="leave"))
    assert (reader.memory.used, reader.disk.used) == (0, 0)


# Given on.


@pytest.mark.parametrize("size", [0, 1, 1000, 5000, 3 * 1024**2])
async def test_an_application_receives_the_body_and_then_what_follows(size: int) -> None:
    whole = bytes(range(250)) * (size // 250 + 1)
    async with read(reader_of(spool_limit_bytes=2**30), channel(whole[:size])) as body:
        receive = body.receive(channel(b"more of it", then="leave"))
        parts, more = [], True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            parts.append(message["body"])
            more = message["more_body"]
        assert b"".join(parts) == whole[:size]
        assert all(len(part) <= 1024**2 for part in parts)
        assert (await receive())["type"] == "http.disconnect"


async def test_no_body_is_one() -> None:
    receive = NO_BODY.receive(channel(then="leave"))
    assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
    assert (await receive())["type"] == "http.disconnect"
    assert (NO_BODY.size, NO_BODY.digest, await content_of(NO_BODY)) == (0, "", b"")


async def test_problems_say_what_to_do() -> None:
    reader = reader_of(upload_limit_bytes=10, body_timeout_s=0.02)
    problems: list[Problem] = []
    for receive in (channel(b"x" * 11), channel(then="hang")):
        with pytest.raises(Problem) as caught:
            await reader.read(scope_of(), receive)
        problems.append(caught.value)
    assert [problem.status for problem in problems] == [413, 408]
    assert "10 bytes" in problems[0].detail
    assert "Send the request again" in problems[1].detail
