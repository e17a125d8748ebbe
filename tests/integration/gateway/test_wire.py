"""The wire of sockets against services that misbehave: what each fault becomes, and that nothing is done twice."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest

import gateway.sockets
from gateway.sockets import Sockets
from gateway.wire import Body, BrokenOff, Crowded, Onward, RawHeaders, Reply, TimedOut, Unreachable, WireFailure
from tests.integration.gateway.servers import Handler, serve_bytes

Serve = Callable[[Handler], str]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED: RawHeaders = [(b"Transfer-Encoding", b"chunked")]
MEBIBYTE = 1024 * 1024
BUFFERED = 24 * MEBIBYTE
"""More than what the kernel and both ends hold of a stream together, and far less than what is sent."""


@pytest.fixture
def served() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda handler: stack.enter_context(serve_bytes(handler))


@pytest.fixture
async def wire() -> AsyncIterator[Sockets]:
    made = Sockets()
    yield made
    await made.close()
    assert made._under_way == 0, "a request is still counted after its end"


def onward(
    url: str,
    method: str = "GET",
    *,
    body: Body | None = None,
    headers: RawHeaders = (),
    connect_s: float = 5.0,
    answer_s: float = 5.0,
) -> Onward:
    framing = [(b"Content-Length", str(len(body)).encode())] if isinstance(body, bytes) else []
    framing = list(CHUNKED) if body is not None and not isinstance(body, bytes) else framing
    host = (b"Host", url.partition("://")[2].encode())
    return Onward(method, url, "/x", [host, *framing, *headers], body, connect_s, answer_s)


async def ask(wire: Sockets, request: Onward) -> tuple[Reply, bytes]:
    """The whole answer."""
    reply = await wire.open(request)
    try:
        return reply, b"".join([part async for part in reply.parts()])
    finally:
        await reply.close()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def read_chunked(reader: asyncio.StreamReader) -> bytes:
    content = b""
    while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
        content += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return content


def saying(*parts: bytes, hang: bool = False, keep: bool = False) -> Handler:
    """Answers every request on a connection with these bytes; then closes it, hangs, or keeps it for the next."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await read_head(reader)
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                if hang:
                    await asyncio.sleep(60)
                if not keep:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    return handler


async def parts_of(*parts: bytes, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(pause_s)
        yield part


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# Faults before there is an answer.


async def test_a_port_where_nobody_listens(wire: Sockets) -> None:
    with pytest.raises(Unreachable):
        await wire.open(onward("http://127.0.0.1:1"))


async def test_a_connection_that_is_never_accepted(wire: Sockets) -> None:
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
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_an_answer_that_does_not_begin(wire: Sockets, served: Serve, said: bytes) -> None:
    url = served(saying(said, hang=True))
    began = time.monotonic()
    for body in (None, b"all of it", parts_of(b"a", b"b")):
        with pytest.raises(TimedOut):
            await wire.open(onward(url, "POST", body=body, answer_s=0.2, connect_s=0.2))
    assert time.monotonic() - began < 5


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
async def test_what_is_no_answer(wire: Sockets, served: Serve, said: bytes) -> None:
    with pytest.raises(BrokenOff):
        await wire.open(onward(served(saying(said))))


async def test_header_fields_may_be_large_but_not_huge(wire: Sockets, served: Serve) -> None:
    for size, whole in ((40_000, True), (1_000_000, False)):
        url = served(saying(b"HTTP/1.1 204 No Content\r\nX-Large: " + b"x" * size + b"\r\n\r\n"))
        if whole:
            reply, _ = await ask(wire, onward(url))
            assert (b"X-Large", b"x" * size) in reply.headers
        else:
            with pytest.raises(BrokenOff):
                await wire.open(onward(url))


async def test_header_fields_without_end(wire: Sockets, served: Serve) -> None:
    with pytest.raises(BrokenOff):
        await wire.open(onward(served(saying(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n" * 1000] * 100))))


# Faults after the answer began.


@pytest.mark.parametrize("head", [b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\na\r\nhalf"])
async def test_an_answer_that_hangs_or_breaks_off(wire: Sockets, served: Serve, head: bytes) -> None:
    for hang, failure in ((True, TimedOut), (False, BrokenOff)):
        reply = await wire.open(onward(served(saying(b"HTTP/1.1 200 OK\r\n" + head, hang=hang)), answer_s=0.2))
        parts = reply.parts()
        assert await anext(parts) == b"half"
        with pytest.raises(failure):
            await anext(parts)
        await reply.close()


async def test_chunks_that_are_none(wire: Sockets, served: Serve) -> None:
    url = served(saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", b"zz\r\n"))
    with pytest.raises(BrokenOff):
        await ask(wire, onward(url))


async def test_what_comes_behind_an_answer_is_nobodys_answer(wire: Sockets, served: Serve) -> None:
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
        method = head.partition(b" ")[0]
        if b"chunked" in head.lower():
            return method + b" " + await read_chunked(reader)
        length = int(next((one.partition(b":")[2] for one in head.split(b"\r\n") if b"-Length" in one), b"0"))
        return method + b" " + await reader.readexactly(length)


@pytest.mark.parametrize("make", [lambda: b"payload", lambda: parts_of(b"pay", b"load")], ids=["whole", "in parts"])
async def test_a_post_is_not_sent_twice(wire: Sockets, served: Serve, make: Callable[[], Body]) -> None:
    service = Dying()
    url = served(service)
    await ask(wire, onward(url, "POST", body=make()))
    with pytest.raises(BrokenOff):
        await ask(wire, onward(url, "POST", body=make()))
    await asyncio.sleep(0.1)
    assert service.executed == [b"POST payload"] * 2
    assert service.connections == 1


async def test_a_put_in_parts_is_not_sent_again_without_them(wire: Sockets, served: Serve) -> None:
    service = Dying()
    url = served(service)
    await ask(wire, onward(url, "PUT", body=parts_of(b"pay", b"load")))
    with pytest.raises(BrokenOff):
        await ask(wire, onward(url, "PUT", body=parts_of(b"pay", b"load")))
    await asyncio.sleep(0.1)
    assert service.executed == [b"PUT payload"] * 2


async def test_a_get_is_asked_once_more(wire: Sockets, served: Serve) -> None:
    service = Dying()
    url = served(service)
    for _ in range(2):
        assert (await ask(wire, onward(url)))[1] == b"ok"
    assert service.connections == 2


async def test_a_connection_that_was_closed_in_the_pool_is_not_used(wire: Sockets, served: Serve) -> None:
    service = Dying(before_reading=True)
    url = served(service)
    for _ in range(2):
        assert (await ask(wire, onward(url, "POST", body=b"payload")))[1] == b"ok"
        await asyncio.sleep(0.2)
    assert service.executed == [b"POST payload"] * 2


async def test_a_connection_is_used_again_after_answers_of_every_kind(wire: Sockets, served: Serve) -> None:
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


# Header fields.


async def test_header_fields_arrive_as_they_are_sent(wire: Sockets, served: Serve) -> None:
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


async def test_bytes_of_latin_1_arrive_as_the_same_text_in_utf_8(wire: Sockets, served: Serve) -> None:
    """RFC 9110, section 5.5, lets a recipient treat such bytes as opaque; aiohttp writes text only."""
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(OK)
        writer.close()

    await ask(wire, onward(served(handler), headers=[(b"X-Name", b"caf\xe9")]))
    assert "X-Name: café".encode() in heads[0].split(b"\r\n")


# Bodies.


async def test_a_caller_that_sends_slowly_is_waited_for(wire: Sockets, served: Serve) -> None:
    """Only the service's own pauses count."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        content = await read_chunked(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))
        writer.close()

    slow = parts_of(b"a", b"b", b"c", pause_s=0.5)
    request = onward(served(handler), "POST", body=slow, answer_s=0.2, connect_s=0.2)
    assert (await ask(wire, request))[1] == b"abc"


async def test_a_service_that_stops_reading_is_given_up(wire: Sockets, served: Serve) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * MEBIBYTE

    url = served(handler)
    began = time.monotonic()
    with pytest.raises(TimedOut):
        await wire.open(onward(url, "POST", body=endless(), answer_s=0.3, connect_s=0.1))
    assert time.monotonic() - began < 10


async def test_bodies_flow_in_both_directions_at_once(wire: Sockets, served: Serve) -> None:
    """The answer begins before the request ends, and each part of the one waits for a part of the other."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            content = await reader.readexactly(size + 2)
            writer.write(b"%x\r\n" % size + content)
        writer.write(b"0\r\n\r\n")
        writer.close()

    echoed: asyncio.Queue[bytes] = asyncio.Queue()

    async def body() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"part %d" % number
            assert await asyncio.wait_for(echoed.get(), 10) == b"part %d" % number

    reply = await wire.open(onward(served(handler), "POST", body=body(), answer_s=5))
    async for part in reply.parts():
        echoed.put_nowait(part)
    await reply.close()


async def test_an_answer_that_comes_before_the_body_was_read(wire: Sockets, served: Serve) -> None:
    """It is given at once; the connection, in the middle of a request, carries no other."""
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        head = await read_head(reader)
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n" if head.startswith(b"POST") else OK)
        await writer.drain()
        while await reader.read(65536):
            pass
        writer.close()

    closed = threading.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1024
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    url = served(handler)
    reply, _ = await ask(wire, onward(url, "POST", body=endless()))
    assert reply.status == 413
    assert (await ask(wire, onward(url)))[1] == b"ok"
    assert connections == 2
    await until(closed.is_set)


async def test_what_the_body_raises_is_raised(wire: Sockets, served: Serve) -> None:
    class Gone(Exception):
        pass

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        raise Gone

    left = threading.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()
        writer.close()

    with pytest.raises(Gone):
        await wire.open(onward(served(handler), "POST", body=body()))
    await until(left.is_set)


async def test_a_caller_that_leaves_while_it_sends_closes_the_connection(wire: Sockets, served: Serve) -> None:
    received, left = threading.Event(), threading.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        received.set()
        while await reader.read(65536):
            pass
        left.set()
        writer.close()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(60)

    call = asyncio.create_task(wire.open(onward(served(handler), "POST", body=body())))
    await until(received.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(left.is_set)


async def test_100_megabytes_up_are_held_back_by_a_service_that_does_not_read(wire: Sockets, served: Serve) -> None:
    let, received, sent = threading.Event(), 0, 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await read_head(reader)
        await asyncio.to_thread(let.wait, 30)
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            await reader.readexactly(size + 2)
            received += size
        writer.write(OK)
        writer.close()

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            yield bytes(MEBIBYTE)
            sent += MEBIBYTE

    call = asyncio.create_task(ask(wire, onward(served(handler), "POST", body=body(), answer_s=30)))
    await asyncio.sleep(1)
    held = sent
    let.set()
    assert (await call)[1] == b"ok"
    assert 0 < held < BUFFERED
    assert received == sent == 100 * MEBIBYTE


async def test_100_megabytes_down_are_held_back_by_a_caller_that_does_not_read(wire: Sockets, served: Serve) -> None:
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
    wire: Sockets, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.sockets, "CONNECTIONS_LIMIT", 2)
    url = served(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"half", hang=True))
    replies = [await wire.open(onward(url)) for _ in range(2)]
    with pytest.raises(Crowded):
        await wire.open(onward(url))
    await replies.pop().close()
    replies.append(await wire.open(onward(url)))
    for reply in replies:
        await reply.close()


async def test_faults_free_their_place(wire: Sockets, served: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.sockets, "CONNECTIONS_LIMIT", 1)
    hanging, garbage = served(saying(b"", hang=True)), served(saying(b"nonsense\r\n\r\n"))
    for url in ("http://127.0.0.1:1", hanging, garbage) * 3:
        with pytest.raises(WireFailure) as caught:
            await wire.open(onward(url, answer_s=0.1))
        assert not isinstance(caught.value, Crowded)
    assert (await ask(wire, onward(served(saying(OK)))))[1] == b"ok"
