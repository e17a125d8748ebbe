"""The shortest hop against servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from gateway.quick_hop import QuickHop
from gateway.wire import BrokenOff, TimedOut, Unreachable
from tests.integration.gateway.servers import serve_bytes

HEAD = b"POST /x HTTP/1.1\r\nHost: facet\r\nContent-Length: 2\r\n\r\n"


@asynccontextmanager
async def hop_to(url: str, *, answer_timeout_s: float = 5.0) -> AsyncIterator[QuickHop]:
    hop = QuickHop(url, connect_timeout_s=2.0, answer_timeout_s=answer_timeout_s)
    yield hop
    hop.close()
    await asyncio.sleep(0)


@contextmanager
def answering(*answers: bytes, close: bool = False) -> Iterator[tuple[str, list[int]]]:
    """A server that gives each request of a connection the next answer; the URL, and how many connections came."""
    connections: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        for answer in answers:
            await reader.readexactly(len(HEAD) + 2)
            writer.write(answer)
            await writer.drain()
        if close:
            writer.close()
        else:
            await asyncio.sleep(30)

    with serve_bytes(handle) as url:
        yield url, connections


GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-A: 1\r\nX-A: 2\r\n\r\ngood"
CHUNKED = b"HTTP/1.1 422 Unprocessable\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n3\r\nway\r\n0\r\n\r\n"


async def test_answers_come_whole_over_one_connection() -> None:
    with answering(GOOD, CHUNKED, GOOD) as (url, connections):
        async with hop_to(url) as hop:
            first = await hop.ask(HEAD, b"ab")
            second = await hop.ask(HEAD, b"cd")
            third = await hop.ask(HEAD, b"ef")
    assert (first.status, first.body) == (200, b"good")
    assert list(first.headers) == [(b"Content-Length", b"4"), (b"X-A", b"1"), (b"X-A", b"2")]
    assert (second.status, second.body) == (422, b"noway")
    assert third.body == b"good"
    assert len(connections) == 1


async def test_requests_side_by_side_have_connections_of_their_own() -> None:
    with answering(GOOD) as (url, connections):
        async with hop_to(url) as hop:
            replies = await asyncio.gather(*(hop.ask(HEAD, b"ab") for _ in range(5)))
    assert [reply.body for reply in replies] == [b"good"] * 5
    assert len(connections) == 5


async def test_what_goes_before_the_answer_is_not_it() -> None:
    with answering(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + GOOD) as (url, _):
        async with hop_to(url) as hop:
            reply = await hop.ask(HEAD, b"ab")
    assert (reply.status, reply.body) == (200, b"good")
    assert (b"Link", b"</x>") not in reply.headers


async def test_a_connection_that_is_to_close_is_not_used_again() -> None:
    closing = GOOD.replace(b"X-A: 1", b"Connection: close")
    with answering(closing) as (url, connections):
        async with hop_to(url) as hop:
            assert (await hop.ask(HEAD, b"ab")).body == b"good"
            assert (await hop.ask(HEAD, b"ab")).body == b"good"
    assert len(connections) == 2


async def test_a_connection_that_was_closed_meanwhile_is_not_used_again() -> None:
    with answering(GOOD, close=True) as (url, connections):
        async with hop_to(url) as hop:
            assert (await hop.ask(HEAD, b"ab")).body == b"good"
            await asyncio.sleep(0.2)
            assert (await hop.ask(HEAD, b"ab")).body == b"good"
    assert len(connections) == 2


async def test_nobody_there() -> None:
    async with hop_to("http://127.0.0.1:1") as hop:
        with pytest.raises(Unreachable):
            await hop.ask(HEAD, b"ab")


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\ntoo short", b"this is no HTTP\r\n\r\n"],
    ids=["nothing", "too short", "garbage"],
)
async def test_an_answer_that_breaks_off_is_a_failure_and_told_once(answer: bytes) -> None:
    with answering(answer, close=True) as (url, connections):
        async with hop_to(url) as hop:
            with pytest.raises(BrokenOff):
                await hop.ask(HEAD, b"ab")
    assert len(connections) == 1, "a POST is not repeated"


async def test_no_answer_in_time() -> None:
    with answering() as (url, _):
        async with hop_to(url, answer_timeout_s=0.2) as hop:
            with pytest.raises(TimedOut):
                await hop.ask(HEAD, b"ab")


async def test_whoever_gives_up_closes_the_connection() -> None:
    left = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(HEAD) + 2)
        await reader.read()
        loop.call_soon_threadsafe(left.set)
        writer.close()

    with serve_bytes(handle) as url:
        async with hop_to(url) as hop:
            call = asyncio.create_task(hop.ask(HEAD, b"ab"))
            await asyncio.sleep(0.1)
            call.cancel()
            async with asyncio.timeout(10):
                await left.wait()


async def test_an_answer_that_nobody_asked_for_goes_to_nobody() -> None:
    with answering(GOOD + GOOD.replace(b"good", b"evil"), GOOD) as (url, _):
        async with hop_to(url) as hop:
            assert (await hop.ask(HEAD, b"ab")).body == b"good"
            await asyncio.sleep(0.1)
            assert (await hop.ask(HEAD, b"ab")).body == b"good"
