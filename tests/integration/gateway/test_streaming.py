"""What only real sockets show: streaming both ways, callers that leave, services that break off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from gateway.app import create_app
from shared.settings import Settings
from tests.integration.gateway.servers import serve, serve_bytes

Gateway = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """Starts a gateway; there is no Redis, which passing requests on must not need."""

    def start(medical_url: str, **values: object) -> AbstractContextManager[str]:
        values = {"redis_url": "redis://127.0.0.1:1/0", "blob_url": str(tmp_path), "medical_url": medical_url} | values
        return serve(create_app(Settings(_env_file=None, **values)))  # type: ignore[arg-type]

    return start


@dataclass
class Slow:
    """Answers in parts, a part for each time it is let; notices when the caller leaves."""

    let: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    parts_received: list[bytes] = field(default_factory=list)
    received: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            if message.get("body"):
                self.parts_received.append(message["body"])
                self.received.set()
            more = message.get("more_body", False)
        self.received.set()
        if scope["path"].endswith("/wait"):
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"first", b"second"):
            await asyncio.to_thread(self.let.acquire)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


LEFT = 'method="POST",process="gateway",route="/v1/medical/{path:path}",status="499"'


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


async def test_an_answer_is_passed_on_part_by_part(gateway: Gateway) -> None:
    service = Slow()
    with serve(service) as url, gateway(url) as door:
        async with httpx.AsyncClient() as client, client.stream("GET", f"{door}/v1/medical/x") as response:
            parts = response.aiter_raw()
            service.let.release()
            assert await anext(parts) == b"first"  # while the service still holds the second back
            service.let.release()
            assert await anext(parts) == b"second"


async def test_a_service_is_asked_once_the_whole_body_is_there(gateway: Gateway) -> None:
    service = Slow()
    service.let.release(2)

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(0.2)
        assert not service.received.is_set(), "the service has to wait for this caller"
        yield b"second"

    with serve(service) as url, gateway(url) as door:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(f"{door}/v1/medical/x", content=body())
    assert answer.content == b"firstsecond"
    assert b"".join(service.parts_received) == b"firstsecond"


async def test_a_caller_that_leaves_while_it_waits_frees_the_service(gateway: Gateway) -> None:
    service = Slow()
    with serve(service) as url, gateway(url) as door:
        async with httpx.AsyncClient() as client:
            call = asyncio.create_task(client.post(f"{door}/v1/medical/wait", content=b"x", timeout=30))
            await until(service.received)
            assert not service.left.is_set()
            call.cancel()
            await until(service.left)
            metrics = (await client.get(f"{door}/metrics")).text
    assert LEFT in metrics


async def test_a_caller_that_leaves_in_the_middle_of_its_body_never_reaches_the_service(gateway: Gateway) -> None:
    service = Slow()
    with serve(service) as url, gateway(url) as door:
        address = urlsplit(door)
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"POST /v1/medical/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nonly this")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with httpx.AsyncClient() as client, asyncio.timeout(10):
            while LEFT.replace("499", "400") not in (await client.get(f"{door}/metrics")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert not service.received.is_set()


async def test_a_caller_that_leaves_in_the_middle_of_the_answer_frees_the_service(gateway: Gateway) -> None:
    broken_off = threading.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"4\r\nmore\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            broken_off.set()

    with serve_bytes(endless) as url, gateway(url) as door:
        async with httpx.AsyncClient() as client, client.stream("GET", f"{door}/v1/medical/x") as response:
            await anext(response.aiter_raw())
        await until(broken_off)


async def test_a_chunked_body_that_grows_over_the_limit_is_413(gateway: Gateway) -> None:
    """With an answer that the caller gets although it still writes, and nothing for the service."""
    service = Slow()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 1024

    with serve(service) as url, gateway(url, upload_limit_bytes=16 * 1024) as door:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(f"{door}/v1/medical/x", content=body())
            assert answer.status_code == 413
            assert answer.json()["type"] == "/problems/content-too-large"
    assert not service.received.is_set()


async def test_an_early_refusal_by_the_service_reaches_the_caller(gateway: Gateway) -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 415, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"{}"})

    with serve(refuse) as url, gateway(url) as door:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(f"{door}/v1/medical/x", content=b"x" * 4_000_000)
    assert answer.status_code == 415


def answering(*parts: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], AsyncIterator[None]]:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    return handler  # type: ignore[return-value]


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-"])
async def test_what_is_no_answer_is_502(gateway: Gateway, said: bytes) -> None:
    with serve_bytes(answering(said)) as url, gateway(url) as door:  # type: ignore[arg-type]
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(f"{door}/v1/medical/x")
    assert answer.status_code == 502
    assert "medical service" in answer.json()["detail"]


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("head", [OK + b"Content-Length: 10\r\n\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\na\r\n"])
async def test_an_answer_that_breaks_off_does_not_pass_for_whole(gateway: Gateway, head: bytes) -> None:
    with serve_bytes(answering(head, b"half")) as url, gateway(url) as door:  # type: ignore[arg-type]
        async with httpx.AsyncClient(timeout=30) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(f"{door}/v1/medical/x")


async def test_a_service_that_does_not_answer_in_time_is_504(gateway: Gateway) -> None:
    service = Slow()
    with serve(service) as url, gateway(url, proxy_read_timeout_s=0.2) as door:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.get(f"{door}/v1/medical/wait")
        assert answer.status_code == 504
        await until(service.left)


async def test_a_service_that_is_not_there_is_503(gateway: Gateway) -> None:
    with gateway("http://127.0.0.1:1") as door:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.get(f"{door}/v1/medical/x")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "medical service" in answer.json()["detail"]


async def test_connections_to_the_service_are_kept(gateway: Gateway) -> None:
    clients: list[tuple[str, int]] = []

    async def remember(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            clients.append(scope["client"])
            await receive()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    with serve(remember) as url, gateway(url) as door:
        async with httpx.AsyncClient(timeout=30) as client:
            for _ in range(5):
                assert (await client.get(f"{door}/v1/medical/x")).status_code == 204
    # The port is of the connection; uvicorn replaces the address, as it trusts the gateway's X-Forwarded-For, and then
    # knows no port. All five came over one connection if the service saw one address.
    assert len(set(clients)) == 1


async def test_without_redis_jobs_are_503_and_the_services_are_reached(gateway: Gateway) -> None:
    service = Slow()
    service.let.release(100)
    with serve(service) as url, gateway(url) as door:
        async with httpx.AsyncClient(timeout=30) as client:
            assert (await client.get(f"{door}/v1/medical/x")).status_code == 200
            for path in ("/v1/jobs", "/v1/jobs/019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"):
                answer = await client.get(door + path)
                assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
            ready = await client.get(f"{door}/health/ready")
            assert (ready.status_code, (await client.get(f"{door}/health/live")).status_code) == (503, 200)
    assert ready.json()["checks"]["redis"] != "ok"


async def test_a_redis_that_accepts_and_says_nothing_is_503_too(gateway: Gateway) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    with serve_bytes(silent) as redis, gateway("http://127.0.0.1:1", redis_url=redis.replace("http", "redis")) as door:
        async with httpx.AsyncClient(timeout=30) as client:
            answers = await asyncio.gather(
                client.get(f"{door}/v1/jobs"),
                client.get(f"{door}/v1/jobs/019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e/events"),
                client.get(f"{door}/v1/jobs/019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e", headers={"Prefer": "wait=20"}),
                client.delete(f"{door}/v1/jobs/019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"),
            )
    assert [answer.status_code for answer in answers] == [503] * 4
