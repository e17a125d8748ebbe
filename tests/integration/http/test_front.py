"""Both ways on one connection, byte by byte, through a real server."""

from __future__ import annotations

import asyncio
import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse

from shared.http import front
from shared.http.application import add_express_lane, create_application
from shared.http.express import Answered, Asked
from shared.http.front import Front
from shared.problems import Problem, ReducedCapacity
from shared.settings import Settings

PATIENCE_S = 20.0


class Lane:
    """Answers with what it was sent; a model called "slow" waits to be let go."""

    def __init__(self) -> None:
        self.full = False
        self.asked: list[bytes] = []
        self.statuses: queue.Queue[int] = queue.Queue()
        self.begun, self.leave = threading.Semaphore(0), threading.Event()
        self.let_in = 0

    def takes(self, scope: object, name: str) -> bool:
        return name != "foreign"

    def refusal(self, asked: Asked) -> Problem | None:
        if self.full:
            return ReducedCapacity("Too many wait.", retry_after_s=3)
        self.let_in += 1
        return None

    def ended(self, asked: Asked) -> None:
        self.let_in -= 1

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
    lane = Lane()
    app = application(lane)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        protocol: Any = Front
        config = uvicorn.Config(
            app, http=protocol, log_config=None, ws="none", timeout_graceful_shutdown=5, timeout_keep_alive=idle_s
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.005)
            yield Door(lane, app, server, listener.getsockname()[1])
        finally:
            lane.leave.set()
            server.should_exit = True
            thread.join()


@pytest.fixture
def door() -> Iterator[Door]:
    with served() as it:
        yield it


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


def test_requests_of_both_ways_take_turns_on_one_connection(door: Door) -> None:
    with door.connect() as connection:
        answers = Answers(connection)
        for request, way in [(infer(b"a"), "short"), (GET, "long"), (infer(b"b"), "short"), (GET, "long")]:
            connection.sendall(request)
            status, headers, _ = answers.next()
            assert (status, headers["x-way"]) == (200, way)
    assert door.lane.asked == [b"a", b"b"]


def test_an_answer_has_what_every_answer_has(door: Door) -> None:
    with door.connect() as connection:
        connection.sendall(infer(b"abc", more="X-Request-ID: mine\r\n"))
        status, headers, body = Answers(connection).next()
    assert (status, body, headers["x-request-id"]) == (200, b"abc", "mine")
    assert {"date", "traceparent", "x-content-type-options"} <= headers.keys()
    assert "connection" not in headers


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
@pytest.mark.parametrize("piece", [1000, 65_536])
def test_a_body_arrives_as_it_was_sent_however_it_is_cut(door: Door, size: int, piece: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    request = infer(body)
    with door.connect() as connection:
        answers = Answers(connection)
        for _ in range(2):
            for start in range(0, len(request), piece):
                connection.sendall(request[start : start + piece])
            assert answers.next()[2] == body


def test_a_head_that_comes_in_pieces_is_read_by_the_other_way_and_answered_alike(door: Door) -> None:
    with door.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers, request = Answers(connection), infer(b"abc")
        for index in range(len(request)):
            connection.sendall(request[index : index + 1])
        assert answers.next()[2] == b"abc"
        connection.sendall(request)
        assert answers.next()[2] == b"abc"


def test_many_requests_in_one_packet_are_answered_in_their_order(door: Door) -> None:
    requests = [infer(b"1"), infer(b"2"), GET, infer(b"3"), GET, GET, infer(b"4")]
    with door.connect() as connection:
        answers = Answers(connection)
        connection.sendall(b"".join(requests))
        found = [answers.next()[2] for _ in requests]
    assert found == [b"1", b"2", b"plain:0", b"3", b"plain:0", b"plain:0", b"4"]


CHUNKED = b"POST /plain HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

KINDS = st.one_of(
    st.just((GET, b"plain:0")),
    st.just((CHUNKED, b"plain:3")),
    st.binary(max_size=300).map(lambda body: (infer(body), body)),
    st.binary(max_size=300).map(
        lambda body: (infer(body, name="foreign"), f"v2/models/foreign/infer:{len(body)}".encode())
    ),
    st.integers(0, 100_000).map(lambda size: (infer(b"z" * size), b"z" * size)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(KINDS, min_size=1, max_size=8), st.lists(st.integers(1, 400), max_size=12))
def test_however_requests_are_mixed_and_cut_each_gets_its_answer_in_its_turn(
    door: Door, asked: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(request for request, _ in asked)
    with door.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers, start = Answers(connection), 0
        for size in cuts:
            connection.sendall(stream[start : start + size])
            start += size
            time.sleep(0.0005)
        connection.sendall(stream[start:])
        assert [answers.next()[2] for _ in asked] == [answer for _, answer in asked]
    door.require_empty()


def test_a_thousand_refusals_in_one_packet_are_a_thousand_answers(door: Door) -> None:
    door.lane.full = True
    with door.connect() as connection:
        answers = Answers(connection)
        connection.sendall(infer(b"") * 1000)
        assert {answers.next()[0] for _ in range(1000)} == {503}


def test_who_is_refused_hears_so_before_the_body_is_there_and_may_ask_again(door: Door) -> None:
    door.lane.full = True
    body = b"x" * 900_000
    with door.connect() as connection:
        answers, request = Answers(connection), infer(body)
        connection.sendall(request[:200])
        status, headers, said = answers.next()
        assert (status, headers["retry-after"]) == (503, "3")
        assert b"Too many wait." in said
        door.lane.full = False
        connection.sendall(request[200:] + infer(b"again"))
        assert answers.next()[2] == b"again"
    assert door.lane.asked == [b"again"]
    door.require_empty()


@pytest.mark.parametrize(
    "head",
    [
        "POST /v2/models/foreign/infer HTTP/1.1\r\nHost: facet\r\nContent-Length: 3\r\n\r\n",
        "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: facet\r\nContent-Length: 3\r\nIdempotency-Key: a\r\n\r\n",
        "POST /v2/models/tiny/ready HTTP/1.1\r\nHost: facet\r\nContent-Length: 3\r\n\r\n",
    ],
)
def test_what_is_not_for_the_short_way_goes_the_long_one(door: Door, head: str) -> None:
    with door.connect() as connection:
        connection.sendall(head.encode() + b"abc")
        status, headers, body = Answers(connection).next()
    assert (status, headers["x-way"]) == (200, "long")
    assert body.endswith(b":3")


def test_an_old_client_is_answered_and_its_connection_closed(door: Door) -> None:
    with door.connect() as connection:
        connection.sendall(b"POST /v2/models/tiny/infer HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
        answers = Answers(connection)
        assert answers.next()[0] == 200
        assert answers.closed()


def test_chunks_and_expectations_go_the_long_way(door: Door) -> None:
    with door.connect() as connection:
        answers = Answers(connection)
        connection.sendall(
            b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        assert answers.next()[2].endswith(b":3")
        connection.sendall(infer(b"abc", more="Expect: 100-continue\r\n"))
        assert answers.next()[0] == 100
        assert answers.next()[2].endswith(b":3")


@pytest.mark.parametrize(
    "head",
    [
        "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: f\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: f\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: f\r\nContent-Length: -3\r\n\r\n",
        "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: f\r\nContent Length: 3\r\n\r\n",
        "POST /v2/models/tiny/infer HTTP/9.9\r\nHost: f\r\nContent-Length: 3\r\n\r\n",
    ],
)
def test_what_is_ambiguous_is_refused_and_nothing_behind_it_believed(door: Door, head: str) -> None:
    with door.connect() as connection:
        connection.sendall(head.encode() + b"abc" + infer(b"smuggled"))
        answers = Answers(connection)
        assert answers.next()[0] == 400
        assert answers.closed()
    assert door.lane.asked == []


def test_the_rest_of_a_head_is_no_request_of_its_own(door: Door) -> None:
    """A head that is cut after its beginning belongs to uvicorn until its end, whatever the rest looks like."""
    with door.connect() as connection:
        answers = Answers(connection)
        connection.sendall(GET + b"POST /plain HTTP/1.1\r\nHost: f\r\nContent-Length: 500\r\nX-Rest: ")
        assert answers.next()[2] == b"plain:0"
        smuggled = infer(b"smuggled")
        connection.sendall(smuggled)
        connection.sendall(b"x" * 500)
        status, _, _ = answers.next()
        assert status in {200, 400}
    assert door.lane.asked == []


def test_a_caller_who_closes_is_told_so(door: Door) -> None:
    with door.connect() as connection:
        connection.sendall(infer(b"abc", more="Connection: close\r\n"))
        answers = Answers(connection)
        status, headers, _ = answers.next()
        assert (status, headers["connection"]) == (200, "close")
        assert answers.closed()


def test_a_long_answer_is_whole(door: Door) -> None:
    with door.connect() as connection:
        connection.sendall(infer(b"0123456789", name="long-answer"))
        assert Answers(connection).next()[2] == b"0123456789" * 100_000


def test_who_leaves_in_the_middle_of_a_body_leaves_nothing_behind(door: Door) -> None:
    with door.connect() as connection:
        connection.sendall(infer(b"x" * 1000)[:-10])
        door.await_in_metrics('facet_http_requests_in_flight{process="test"} 1.0')
    door.await_in_metrics(door.counted(499))
    door.await_in_metrics('facet_http_requests_in_flight{process="test"} 0.0')
    door.require_empty()
    assert door.lane.asked == []


def test_work_for_who_leaves_is_given_up(door: Door) -> None:
    with door.connect() as connection:
        connection.sendall(infer(b"x", name="slow"))
        assert door.lane.begun.acquire(timeout=PATIENCE_S)
    assert door.lane.statuses.get(timeout=PATIENCE_S) == 499
    door.await_in_metrics(door.counted(499))
    door.require_empty()


def test_nothing_is_left_of_those_who_ask_and_are_gone_at_once(door: Door) -> None:
    for _ in range(100):
        connection = door.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not closed
        connection.sendall(infer(b"abc"))
        connection.close()
    door.require_empty()
    door.await_in_metrics('facet_http_requests_in_flight{process="test"} 0.0')


def test_a_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_STALLED_S", 1.0)
    with served(idle_s=1) as door, door.connect() as connection:
        connection.sendall(infer(b"x" * 1000)[:-1])
        answers = Answers(connection)
        status, headers, body = answers.next()
        assert (status, headers["connection"]) == (408, "close")
        assert b"The rest of the body did not come" in body
        assert answers.closed()
        door.require_empty()
        door.await_in_metrics(door.counted(408))


def test_a_slow_body_is_not_given_up_while_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_STALLED_S", 1.0)
    with served(idle_s=1) as door, door.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = infer(b"12345678")
        connection.sendall(request[:-8])
        for index in range(len(request) - 8, len(request)):
            time.sleep(0.4)
            connection.sendall(request[index : index + 1])
        assert Answers(connection).next()[2] == b"12345678"


def test_what_comes_while_an_answer_is_made_waits_its_turn(door: Door) -> None:
    with door.connect() as connection:
        connection.sendall(infer(b"first", name="slow"))
        assert door.lane.begun.acquire(timeout=PATIENCE_S)
        connection.sendall(infer(b"y" * 300_000) + GET)
        time.sleep(0.05)
        assert door.lane.asked == [b"first"]
        door.lane.leave.set()
        answers = Answers(connection)
        assert answers.next()[2] == b"first"
        assert answers.next()[2] == b"y" * 300_000
        assert answers.next()[2] == b"plain:0"


def test_a_server_that_ends_answers_what_is_under_way(door: Door) -> None:
    with door.connect() as connection:
        connection.sendall(infer(b"last", name="slow"))
        assert door.lane.begun.acquire(timeout=PATIENCE_S)
        door.server.should_exit = True
        time.sleep(0.3)
        door.lane.leave.set()
        answers = Answers(connection)
        status, headers, body = answers.next()
        assert (status, headers["connection"], body) == (200, "close", b"last")
        assert answers.closed()


@pytest.mark.parametrize("before", [b"", infer(b"abc"), GET])
def test_an_idle_connection_is_closed_after_its_time_and_not_sooner(before: bytes) -> None:
    with served(idle_s=1) as door, door.connect() as connection:
        answers = Answers(connection)
        if before:
            connection.sendall(before)
            answers.next()
        began = time.monotonic()
        assert answers.closed()
        assert 0.9 < time.monotonic() - began < 10


@pytest.mark.parametrize("name", ["slow", "foreign"])
def test_a_connection_that_waits_for_an_answer_is_not_idle(name: str) -> None:
    with served(idle_s=1) as door, door.connect() as connection:
        request = infer(b"abc", name=name)
        begun = request if name == "slow" else request[:-1]
        connection.sendall(begun)
        time.sleep(2.5)
        connection.sendall(request[len(begun) :])
        door.lane.leave.set()
        answers = Answers(connection)
        assert answers.next()[0] == 200
        connection.sendall(GET)
        assert answers.next()[0] == 200
