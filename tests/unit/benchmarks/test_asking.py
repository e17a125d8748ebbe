"""How the serving benchmark asks and compares, against a real server that is sometimes wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tests.benchmarks.serving import wire
from tests.benchmarks.serving.arrivals import Source, Tally, whole_request
from tests.benchmarks.serving.cases import Case, Sample
from tests.benchmarks.serving.measuring import Target, Unfit, compare, quietest
from tests.benchmarks.serving.rows import Row
from tests.benchmarks.serving.systems import System


class _Doubler(BaseHTTPRequestHandler):
    """Answers a body of float32 with twice its first two numbers; refuses those that begin with a negative one."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        values = np.frombuffer(self.rfile.read(int(self.headers["Content-Length"])), "<f4")
        refused = values[0] < 0
        answer = b"" if refused else (values[:2] * 2).tobytes()
        self.send_response(503 if refused else 200)
        self.send_header("Content-Length", str(len(answer)))
        if refused:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def doubler() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Doubler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def target(url: str, answers: list[list[float]]) -> Target:
    form = wire.Form(wire.plain, wire.read_plain)
    system = System("doubler", "", (), {"tensor": form}, {"tensor": "/"})
    samples = [
        Sample(np.full((1, 1, 4), number + 1, np.float32), b"", np.asarray(answer, np.float32))
        for number, answer in enumerate(answers)
    ]
    return Target(system, Case("doubler", "doubler", "tensor", (1, 1, 4), 1.0), url, None, samples)  # type: ignore[arg-type]


def test_right_answers_pass_and_one_wrong_among_many_does_not(doubler: str) -> None:
    assert compare(target(doubler, [[2, 2], [4, 4.001], [6, 6]])) == pytest.approx(0.001, rel=0.01)
    with pytest.raises(Unfit, match="wrong answer"):
        compare(target(doubler, [[2, 2], [4, 4.1], [6, 6]]))
    with pytest.raises(Unfit, match="wrong answer"):
        compare(target(doubler, [[2, 2, 2]]))


def test_a_disturbed_window_is_taken_again_and_the_quietest_counts() -> None:
    def rows(*others: float) -> Iterator[Row]:
        return (Row(0, "facet", "tiny", "tensor", 16, rate=1.0, other_cores=cores) for cores in others)

    taken = rows(0.9, 0.1, 0.0)
    assert quietest(lambda: next(taken), attempts=3).other_cores == 0.1
    assert next(taken).other_cores == 0.0  # was not needed
    taken = rows(0.9, 0.5, 0.7)
    assert quietest(lambda: next(taken), attempts=3).other_cores == 0.5


@pytest.mark.parametrize(("first", "status"), [(1.0, 200), (-1.0, 503)])
def test_open_loop_counts_every_request(doubler: str, first: float, status: int) -> None:
    request = whole_request(doubler, np.array([first, 0], "<f4").tobytes(), {"Content-Type": "x/y"})
    tally = asyncio.run(Source(doubler, request).run(rate=200, seconds=0.5))
    found = tally.summary()
    assert found["by_status"][str(status)]["count"] == 100
    assert found["by_status"][str(status)]["with_retry_after"] == (100 if status == 503 else 0)
    assert (found["broken"], found["unsent"]) == (0, 0)
    assert found["good_in_time"] <= 100 * (status == 200)


def test_open_loop_without_a_server_counts_what_broke() -> None:
    tally = asyncio.run(Source("http://127.0.0.1:9/", b"x").run(rate=100, seconds=0.1))
    assert tally.broken == 10


def test_answers_after_the_end_are_no_goodput() -> None:
    tally = Tally(ends_at=0.0)
    tally.answered(200, sent=0.0, retry_after=False)
    assert (tally.good_in_time, len(tally.times[200])) == (0, 1)
