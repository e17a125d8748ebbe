"""Callers who leave, who are slow or who wait, and a server that ends."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from shared.http import front
from tests.integration.http.door import GET, PATIENCE_S, Answers, Door, infer, served


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
