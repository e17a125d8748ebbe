"""The wire of sockets against services that misbehave: what each fault becomes, and that nothing is done twice."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import pytest

from gateway.request_bodies.reader import NO_BODY, RequestBody
from gateway.upstream.aiohttp_transport import AiohttpTransport
from gateway.upstream.transport import ConnectionBroken, TimedOut, Unreachable
from tests.integration.gateway.exchanges import OK, Serve, ask, on_disk, onward, read_body, read_head, saying

# Faults before there is an answer.


async def test_a_port_where_nobody_listens(wire: AiohttpTransport) -> None:
    with pytest.raises(Unreachable):
        await wire.open(onward("http://127.0.0.1:1"))


async def test_a_connection_that_is_never_accepted(wire: AiohttpTransport) -> None:
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # the queue of those not yet accepted is full
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        began = time.monotonic()
        with pytest.raises(Unreachable):
            await wire.open(onward(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_s=0.3))
        assert time.monotonic() - began < 15


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_an_answer_that_does_not_begin(wire: AiohttpTransport, served: Serve, said: bytes) -> None:
    url = served(saying(said, hang=True))
    began = time.monotonic()
    with closing(on_disk(b"all of it")) as large:
        for body in (NO_BODY, RequestBody(b"all of it"), large):
            with pytest.raises(TimedOut):
                await wire.open(onward(url, "POST", body=body, answer_s=0.2, connect_s=0.2))
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        bytes(range(256)) * 64,
    ],
)
async def test_what_is_no_answer(wire: AiohttpTransport, served: Serve, said: bytes) -> None:
    with pytest.raises(ConnectionBroken):
        await wire.open(onward(served(saying(said))))


async def test_header_fields_may_be_large_but_not_huge(wire: AiohttpTransport, served: Serve) -> None:
    for size, whole in ((40_000, True), (1_000_000, False)):
        url = served(saying(b"HTTP/1.1 204 No Content\r\nX-Large: " + b"x" * size + b"\r\n\r\n"))
        if whole:
            reply, _ = await ask(wire, onward(url))
            assert (b"X-Large", b"x" * size) in reply.headers
        else:
            with pytest.raises(ConnectionBroken):
                await wire.open(onward(url))


async def test_header_fields_without_end(wire: AiohttpTransport, served: Serve) -> None:
    with pytest.raises(ConnectionBroken):
        await wire.open(onward(served(saying(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n" * 1000] * 100))))


# Faults after the answer began.


@pytest.mark.parametrize("head", [b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\na\r\nhalf"])
async def test_an_answer_that_hangs_or_breaks_off(wire: AiohttpTransport, served: Serve, head: bytes) -> None:
    for hang, failure in ((True, TimedOut), (False, ConnectionBroken)):
        reply = await wire.open(onward(served(saying(b"HTTP/1.1 200 OK\r\n" + head, hang=hang)), answer_s=0.2))
        parts = reply.parts()
        assert await anext(parts) == b"half"
        with pytest.raises(failure):
            await anext(parts)
        await reply.close()


@pytest.mark.parametrize("pause_s", [0, 0.2])
async def test_chunks_that_are_none(wire: AiohttpTransport, served: Serve, pause_s: float) -> None:
    """In the segment of a good one, or in one of its own."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await writer.drain()
        await asyncio.sleep(pause_s)
        writer.write(b"zz\r\n")
        await writer.drain()
        writer.close()

    began = time.monotonic()
    with pytest.raises(ConnectionBroken):
        await ask(wire, onward(served(handler), answer_s=30))
    assert time.monotonic() - began < 15


async def test_what_comes_behind_an_answer_is_nobodys_answer(wire: AiohttpTransport, served: Serve) -> None:
    """One caller may not get what was said to another."""
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        own = f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{connections}".encode()
        try:
            while True:
                await read_head(reader)
                writer.write(own + (OK if connections == 1 else b""))
                await asyncio.sleep(0.05)
                if connections == 2:
                    writer.write(OK)  # this time when the connection waits in the pool
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    url = served(handler)
    said = []
    for _ in range(3):
        said.append((await ask(wire, onward(url)))[1])
        await asyncio.sleep(0.2)
    assert said == [b"1", b"2", b"3"]


# Connections that are kept.


class Dying:
    """Keeps the connection after its first answer, and closes it when the next request is there."""

    def __init__(self, *, before_reading: bool = False) -> None:
        self.executed: list[bytes] = []
        self.connections = 0
        self._before_reading = before_reading

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        first = self.connections == 1
        try:
            self.executed.append(await self._read(reader))
            writer.write(OK)
            await writer.drain()
            if not (first and self._before_reading):
                self.executed.append(await self._read(reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        head = await read_head(reader)
        return head.partition(b" ")[0] + b" " + await read_body(reader, head)


@pytest.mark.parametrize("make", [RequestBody, on_disk])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_has_a_body_is_not_sent_twice(
    wire: AiohttpTransport, served: Serve, method: str, make: Callable[[bytes], RequestBody]
) -> None:
    service = Dying()
    url = served(service)
    with closing(make(b"payload")) as body:
        await ask(wire, onward(url, method, body=body))
        await asyncio.sleep(0.05)  # until the connection is back in the pool
        with pytest.raises(ConnectionBroken):
            await ask(wire, onward(url, method, body=body))
    await asyncio.sleep(0.1)
    assert service.executed == [f"{method} payload".encode()] * 2
    assert service.connections == 1


@pytest.mark.parametrize("make", [RequestBody, on_disk])
async def test_a_put_is_sent_once_more_and_whole(
    wire: AiohttpTransport, served: Serve, make: Callable[[bytes], RequestBody]
) -> None:
    """It is idempotent (RFC 9110, section 9.2.2)."""
    service = Dying()
    url = served(service)
    with closing(make(b"payload")) as body:
        for _ in range(2):
            assert (await ask(wire, onward(url, "PUT", body=body)))[1] == b"ok"
            await asyncio.sleep(0.05)
    assert service.executed == [b"PUT payload"] * 3
    assert service.connections == 2


async def test_a_post_without_a_body_is_not_sent_twice(wire: AiohttpTransport, served: Serve) -> None:
    service = Dying()
    url = served(service)
    await ask(wire, onward(url, "POST"))
    with pytest.raises(ConnectionBroken):
        await ask(wire, onward(url, "POST"))
    await asyncio.sleep(0.1)
    assert service.executed == [b"POST "] * 2


async def test_a_get_is_asked_once_more(wire: AiohttpTransport, served: Serve) -> None:
    service = Dying()
    url = served(service)
    for _ in range(2):
        assert (await ask(wire, onward(url)))[1] == b"ok"
    assert service.connections == 2


async def test_a_connection_that_was_closed_in_the_pool_is_not_used(wire: AiohttpTransport, served: Serve) -> None:
    service = Dying(before_reading=True)
    url = served(service)
    for _ in range(2):
        assert (await ask(wire, onward(url, "POST", body=RequestBody(b"payload"))))[1] == b"ok"
        await asyncio.sleep(0.2)
    assert service.executed == [b"POST payload"] * 2


async def test_a_connection_is_used_again_after_answers_of_every_kind(wire: AiohttpTransport, served: Serve) -> None:
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while head := await read_head(reader):
                writer.write(answers[head.partition(b" ")[0]])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    answers = {
        b"GET": OK,
        b"HEAD": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        b"DELETE": b"HTTP/1.1 204 No Content\r\n\r\n",
        b"OPTIONS": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        b"PATCH": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n",
    }
    url = served(handler)
    found = [((await ask(wire, onward(url, method.decode()))), method) for method in answers]
    assert [(reply.status, content) for (reply, content), _ in found] == [
        (200, b"ok"), (200, b""), (204, b""), (304, b""), (422, b""),
    ]  # fmt: skip
    assert connections == 1
