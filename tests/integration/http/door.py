"""A server with both ways, and a caller who sees every byte."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse

from shared.http.application import add_express_lane, create_application
from shared.http.express import Answered, Asked
from shared.settings import Settings
from tests.integration.gateway.servers import server_of
from tests.support.lanes import CountingLane

PATIENCE_S = 20.0


class Lane(CountingLane):
    """Answers with what it was sent; a model called "slow" waits to be let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []
        self.statuses: queue.Queue[int] = queue.Queue()
        self.begun, self.leave = threading.Semaphore(0), threading.Event()

    def takes(self, scope: object, name: str) -> bool:
        return name != "foreign"

    async def answer(self, asked: Asked) -> Answered:
        body = bytes(asked.body)
        self.asked.append(body)
        self.begun.release()
        while asked.name == "slow" and not self.leave.is_set():  # noqa: ASYNC110 - set from another thread
            await asyncio.sleep(0.005)
        answer = body * 100_000 if asked.name == "long-answer" else body
        return Answered(200, [(b"content-length", str(len(answer)).encode()), (b"x-way", b"short")], answer)

    def noted(self, asked: Asked, status: int) -> None:
        self.statuses.put(status)


def application(lane: Lane) -> FastAPI:
    app = create_application(process="test", title="Test", description="", settings=Settings(_env_file=None))
    add_express_lane(app, lane, route="/v2/models/{name}/infer")

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def long_way(path: str, request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{path}:{len(await request.body())}", headers={"X-Way": "long"})

    return app


class Door:
    """A server, and the lane inside."""

    def __init__(self, lane: Lane, app: FastAPI, server: uvicorn.Server, port: int) -> None:
        self.lane, self.app, self.server, self.port = lane, app, server, port

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def require_empty(self) -> None:
        """Nothing is in, and nothing is held, at once or in a moment: an answer is read before it is noted."""
        until = time.monotonic() + PATIENCE_S
        while (self.lane.let_in, self.app.state.express.held) != (0, 0):
            assert time.monotonic() < until
            time.sleep(0.001)

    def counted(self, status: int) -> str:
        return f'route="/v2/models/{{name}}/infer",status="{status}"'

    def await_in_metrics(self, text: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while text not in self.app.state.metrics.render().decode():
            assert time.monotonic() < until, text
            time.sleep(0.01)


@contextmanager
def served(*, idle_s: int = 5) -> Iterator[Door]:
    """A server that closes connections which have been idle for so long."""
    lane = Lane()
    app = application(lane)
    with server_of(app, timeout_graceful_shutdown=5, timeout_keep_alive=idle_s) as (server, port):
        try:
            yield Door(lane, app, server, port)
        finally:
            lane.leave.set()


class Answers:
    """Reads answers off a connection, one at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._left = connection, bytearray()

    def next(self) -> tuple[int, dict[str, str], bytes]:
        """Status, header fields and body."""
        while (end := self._left.find(b"\r\n\r\n")) < 0:
            self._more()
        line, *fields = self._left[:end].decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        whole = end + 4 + int(headers.get("content-length", 0))
        while len(self._left) < whole:
            self._more()
        body, self._left = bytes(self._left[end + 4 : whole]), self._left[whole:]
        return int(line.split()[1]), headers, body

    def _more(self) -> None:
        data = self._connection.recv(1_000_000)
        assert data, "closed before the end of an answer"
        self._left += data

    def closed(self) -> bool:
        return not self._left and self._connection.recv(1) == b""


def infer(body: bytes, *, name: str = "tiny", more: str = "") -> bytes:
    head = f"POST /v2/models/{name}/infer HTTP/1.1\r\nHost: facet\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


GET = b"GET /plain HTTP/1.1\r\nHost: facet\r\n\r\n"
