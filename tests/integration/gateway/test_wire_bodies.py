"""What the wire of sockets carries: header fields, bodies of any size in both directions, as many as may be."""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing, suppress

import pytest

import gateway.upstream.aiohttp_transport
from gateway.request_bodies.reader import RequestBody
from gateway.upstream.aiohttp_transport import AiohttpTransport
from gateway.upstream.transport import PoolExhausted, TimedOut, TransportFailure
from tests.integration.gateway.exchanges import OK, Serve, ask, on_disk, onward, read_body, read_head, saying, until

MEBIBYTE = 1024 * 1024
BUFFERED = 24 * MEBIBYTE
"""More than what the kernel and both ends hold of a stream together, and far less than what is sent."""


# Header fields.


async def test_header_fields_arrive_as_they_are_sent(wire: AiohttpTransport, served: Serve) -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=1\r\nX-Name: caf\xe9\r\nset-cookie: b=2\r\n\r\n")
        writer.close()

    headers = [(b"x-twice", b"1"), (b"x-twice", b"2"), (b"X-Text", "größer".encode()), (b"X-Empty", b"")]
    reply, _ = await ask(wire, onward(served(handler), headers=headers))
    assert list(reply.headers) == [(b"Set-Cookie", b"a=1"), (b"X-Name", b"caf\xe9"), (b"set-cookie", b"b=2")]
    lines = heads[0].split(b"\r\n")
    assert lines[0] == b"GET /x HTTP/1.1"
    for line in (b"x-twice: 1", b"x-twice: 2", b"X-Text: gr\xc3\xb6\xc3\x9fer", b"X-Empty: "):
        assert line in lines
    assert sorted(line.partition(b":")[0].lower() for line in lines[1:-2]) == [
        b"host", b"x-empty", b"x-text", b"x-twice", b"x-twice",
    ]  # fmt: skip


async def test_bytes_of_latin_1_arrive_as_the_same_text_in_utf_8(wire: AiohttpTransport, served: Serve) -> None:
    """RFC 9110, section 5.5, lets a recipient treat such bytes as opaque; aiohttp writes text only."""
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(OK)
        writer.close()

    await ask(wire, onward(served(handler), headers=[(b"X-Name", b"caf\xe9")]))
    assert "X-Name: café".encode() in heads[0].split(b"\r\n")


# Bodies.


@pytest.mark.parametrize("make", [RequestBody, on_disk])
@pytest.mark.parametrize("size", [1, 1000, MEBIBYTE, MEBIBYTE + 1, 5 * MEBIBYTE])
async def test_bodies_arrive_whole_with_one_length(
    wire: AiohttpTransport, served: Serve, size: int, make: Callable[[bytes], RequestBody]
) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    received: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await read_head(reader):
                received.append(await read_body(reader, head))
                writer.write(OK)
        writer.close()

    url = served(handler)
    with closing(make(content[:size])) as body:
        for _ in range(2):  # a body may be sent again
            assert (await ask(wire, onward(url, "POST", body=body)))[1] == b"ok"
    assert received == [content[:size]] * 2


@pytest.mark.parametrize("make", [RequestBody, on_disk])
async def test_a_service_that_stops_reading_is_given_up(
    wire: AiohttpTransport, served: Serve, make: Callable[[bytes], RequestBody]
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)

    url = served(handler)
    began = time.monotonic()
    with closing(make(bytes(BUFFERED))) as body, pytest.raises(TimedOut):
        await wire.open(onward(url, "POST", body=body, answer_s=0.3, connect_s=0.1))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("make", [RequestBody, on_disk])
async def test_an_answer_that_comes_before_the_body_was_read(
    wire: AiohttpTransport, served: Serve, make: Callable[[bytes], RequestBody]
) -> None:
    """It is given at once; the connection, in the middle of a request, carries no other."""
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        head = await read_head(reader)
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n" if head.startswith(b"POST") else OK)
        await writer.drain()
        with suppress(ConnectionError):
            while await reader.read(1024):
                pass
        writer.close()

    url = served(handler)
    with closing(make(bytes(BUFFERED))) as body:
        reply, _ = await ask(wire, onward(url, "POST", body=body))
        assert reply.status == 413
        assert (await ask(wire, onward(url)))[1] == b"ok"
    assert connections == 2


@pytest.mark.parametrize("make", [RequestBody, on_disk])
async def test_a_call_that_is_cancelled_while_it_sends_closes_the_connection(
    wire: AiohttpTransport, served: Serve, make: Callable[[bytes], RequestBody]
) -> None:
    received, let, left = threading.Event(), threading.Event(), threading.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        received.set()
        await asyncio.to_thread(let.wait, 30)
        with suppress(ConnectionError):
            while await reader.read(65536):
                pass
        left.set()
        writer.close()

    with closing(make(bytes(BUFFERED))) as body:
        call = asyncio.create_task(wire.open(onward(served(handler), "POST", body=body)))
        await until(received.is_set)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    let.set()
    await until(left.is_set)


async def test_100_megabytes_from_disk_take_no_100_megabytes_of_memory(wire: AiohttpTransport, served: Serve) -> None:
    received = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await read_head(reader)
        await asyncio.sleep(0.2)  # time in which it could be read ahead
        while received < 100 * MEBIBYTE:
            received += len(await reader.read(65536))
        writer.write(OK)
        writer.close()

    with closing(on_disk(bytes(100 * MEBIBYTE))) as body:
        url = served(handler)
        tracemalloc.start()
        try:
            assert (await ask(wire, onward(url, "POST", body=body)))[1] == b"ok"
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert received == 100 * MEBIBYTE
    assert peak < BUFFERED


async def test_100_megabytes_down_are_held_back_by_a_caller_that_does_not_read(
    wire: AiohttpTransport, served: Serve
) -> None:
    """For longer than the service is given for a part: waiting for the caller is no fault of the service."""
    written = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 * MEBIBYTE))
        for _ in range(100):
            writer.write(bytes(MEBIBYTE))
            await writer.drain()
            written += MEBIBYTE
        writer.close()

    reply = await wire.open(onward(served(handler), answer_s=0.5))
    await asyncio.sleep(1)
    held = written
    largest = total = 0
    async for part in reply.parts():
        total += len(part)
        largest = max(largest, len(part))
    await reply.close()
    assert held < BUFFERED
    assert total == 100 * MEBIBYTE
    assert largest < 2 * MEBIBYTE


# As many as may be.


async def test_more_requests_than_may_be_are_refused(
    wire: AiohttpTransport, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.upstream.aiohttp_transport, "CONNECTIONS_LIMIT", 2)
    url = served(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"half", hang=True))
    replies = [await wire.open(onward(url)) for _ in range(2)]
    with pytest.raises(PoolExhausted):
        await wire.open(onward(url))
    await replies.pop().close()
    replies.append(await wire.open(onward(url)))
    for reply in replies:
        await reply.close()


async def test_faults_free_their_place(wire: AiohttpTransport, served: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.upstream.aiohttp_transport, "CONNECTIONS_LIMIT", 1)
    hanging, garbage = served(saying(b"", hang=True)), served(saying(b"nonsense\r\n\r\n"))
    for url in ("http://127.0.0.1:1", hanging, garbage) * 3:
        with pytest.raises(TransportFailure) as caught:
            await wire.open(onward(url, answer_s=0.1))
        assert not isinstance(caught.value, PoolExhausted)
    assert (await ask(wire, onward(served(saying(OK)))))[1] == b"ok"
