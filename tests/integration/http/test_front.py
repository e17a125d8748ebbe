"""Both ways on one connection, byte by byte, through a real server."""

from __future__ import annotations

import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.http.door import GET, Answers, Door, infer


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
