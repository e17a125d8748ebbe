"""The pure parts of the serving benchmark, and its comparison of answers against a real server that is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.serving import wire
from tests.benchmarks.serving.__main__ import destination, parse, turns
from tests.benchmarks.serving.arrivals import Source, Tally, whole_request
from tests.benchmarks.serving.cases import CASES, Case, Sample
from tests.benchmarks.serving.measuring import Target, Unfit, compare
from tests.benchmarks.serving.processes import Meter, Running, parse_stat, with_descendants
from tests.benchmarks.serving.report import as_markdown, best_peer, ratios
from tests.benchmarks.serving.rows import BARE, Failure, Ledger, Row, cell, paired_ratio
from tests.benchmarks.serving.systems import SYSTEMS, System
from tests.benchmarks.serving.wrk import WrkFailed
from tests.benchmarks.serving.wrk import parse as parse_wrk
from tests.support.processes import runs

COUNTED = (
    '{"duration": 2000000, "answers": 110, "p50": 1500, "p95": 2500, "p99": 4000, "status": 10, "socket": 2, '
    '"timeout": 1}'
)
MACHINE = {
    "cpu": "a CPU", "cores": 2, "memory_gib": 4, "python": "3.11", "onnxruntime": "1", "wrk": "wrk 4",
    "date": "2026-01-01", "peers": {"triton": "nvidia-pytriton 0.7.0"},
}  # fmt: skip


def row(system: str, rate: float, *, repeat: int = 0, concurrency: int = 16, p99_ms: float = 1.0) -> Row:
    return Row(repeat, system, "tiny", "tensor", concurrency, rate, p99_ms=p99_ms)


def sample() -> Sample:
    return Sample(np.arange(12, dtype=np.float32).reshape(3, 2, 2), b"\x89PNG", np.array([1.0, 2.0], np.float32))


def test_wrk_output_becomes_numbers() -> None:
    counted = parse_wrk(f"Running 2s test\n  Requests/sec: 55\nCOUNTED {COUNTED}\n")
    assert counted.rate == 50.0  # refusals are no good answers
    assert (counted.p50_ms, counted.p95_ms, counted.p99_ms) == (1.5, 2.5, 4.0)
    assert (counted.refused, counted.broken) == (10, 3)


def test_wrk_without_result_is_an_error_that_says_what_it_said() -> None:
    with pytest.raises(WrkFailed, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_ratios_pair_rows_of_the_same_repeat() -> None:
    rows = [row("facet", 20, repeat=0), row("facet", 30, repeat=1), row("facet", 99, repeat=2)]
    rows += [row("triton", 10, repeat=0), row("triton", 10, repeat=1)]
    found = paired_ratio(cell(rows, "facet", "tiny", 16), cell(rows, "triton", "tiny", 16))
    assert found is not None
    assert (found.median, found.lowest, found.highest) == (2.5, 2.0, 3.0)
    assert paired_ratio(cell(rows, "facet", "tiny", 16), cell(rows, "mlserver", "tiny", 16)) is None


def test_best_peer_is_a_product_and_not_facet() -> None:
    rows = [row("facet", 100), row("plain-uvicorn", 90), row("triton", 10), row("mlserver", 11)]
    assert best_peer(rows, "tiny", 16) == "mlserver"
    assert best_peer([row("facet", 100)], "tiny", 16) is None


def test_the_peer_with_the_lowest_p99_need_not_be_the_fastest() -> None:
    rows = [row("facet", 100, p99_ms=3), row("triton", 80, p99_ms=4), row("mlserver", 50, p99_ms=2)]
    found = ratios(rows)[0]
    assert (found["best peer"], found["lowest p99 of a peer"]) == ("triton", "mlserver")
    assert found["p99, Facet / that"] == "1.50 (1.50-1.50)"


def test_report_has_every_system_its_ratio_and_what_failed() -> None:
    rows = [row("facet", 260.4), row("triton", 200.0), row(BARE, 1000.0)]
    text = as_markdown(rows, [Failure(0, "bentoml", "tiny", "did not start")], MACHINE)
    assert ratios(rows)[0]["rate, Facet / peer"] == "1.30 (1.30-1.30)"
    assert ratios(rows)[0]["rate, Facet / onnxruntime at this batch"] == "0.26 (0.26-0.26)"
    assert "| facet | 16 | 260 (260-260) |" in text
    assert "| onnxruntime alone | batch 16 | 1000 (1000-1000) |" in text
    assert "- bentoml on tiny: did not start" in text


def test_rows_survive_the_end_of_the_process(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "rows.jsonl")
    ledger.add(row("facet", 20, concurrency=4))
    ledger.add(Failure(0, "triton", "tiny", "no"))
    again = Ledger(tmp_path / "rows.jsonl")
    assert (again.rows, again.failures) == (ledger.rows, ledger.failures)
    assert again.concurrencies(0, "facet", "tiny") == {4}
    assert again.concurrencies(1, "facet", "tiny") == set()
    assert again.standing_failures == again.failures
    again.add(row("triton", 10))
    assert again.standing_failures == []


def test_every_system_is_first_in_some_repeat_and_none_is_left_out() -> None:
    systems, cases = list(SYSTEMS.values())[:3], [CASES["tiny"]]
    order = [turn.system.name for turn in turns(systems, cases, repeats=3)]
    names = [system.name for system in systems]
    assert [order[0], order[3], order[6]] == names
    assert all(sorted(order[at : at + 3]) == sorted(names) for at in (0, 3, 6))


def test_a_part_of_the_run_does_not_overwrite_the_whole() -> None:
    assert destination(parse([])).name == "results"
    assert destination(parse(["--repeats", "1"])).name == "partial"
    assert destination(parse(["--models", "tiny", "--out", "x/y"])) == Path("x/y")


def test_binary_tensors_come_back_as_they_went() -> None:
    call = wire.binary_tensor(Case("tiny", "tensor", (3, 2, 2), 1.0), sample())
    length = int(call.headers[wire.HEADER_LENGTH])
    described = json.loads(call.body[:length])["inputs"][0]
    assert (described["shape"], described["parameters"]["binary_data_size"]) == ([1, 3, 2, 2], 48)
    assert np.array_equal(
        wire.read_binary_tensor({"inference-header-content-length": str(length)}, call.body), np.arange(12)
    )


def test_a_picture_as_an_element_has_its_length_before_it() -> None:
    call = wire.binary_tensor(Case("signs", "png", (3, 2, 2), 1.0), sample())
    assert call.body[int(call.headers[wire.HEADER_LENGTH]) :] == b"\x04\x00\x00\x00\x89PNG"


def test_json_tensors_lose_no_digit() -> None:
    values = np.random.default_rng(1).standard_normal((3, 4, 4)).astype(np.float32)
    call = wire.json_tensor(CASES["tiny"], Sample(values, b"", values))
    found = json.loads(call.body)["inputs"][0]
    assert np.array_equal(np.asarray(found["data"], np.float32), values.ravel())
    assert found["shape"] == [1, 3, 4, 4]


def test_top_five_is_what_a_classification_says() -> None:
    logits = np.array([0.5, 3.0, -1.0, 2.0, 9.0, 4.0, 1.0], np.float32)
    best = [{"class_id": int(at), "logit": float(logits[at])} for at in (4, 5, 1, 3, 6)]
    body = json.dumps({"classifications": [{"top": best}]}).encode()
    assert np.array_equal(wire.read_classification({}, body), wire.top_five(logits))


def test_stat_of_a_process_with_brackets_in_its_name() -> None:
    rest = ["0"] * 50
    rest[0], rest[1], rest[11], rest[12], rest[21] = "S", "7", "150", "50", "3"
    found = parse_stat("12 (a) b) " + " ".join(rest))
    assert found.parent == 7
    assert found.cpu_s == 200 / os.sysconf("SC_CLK_TCK")
    assert found.rss == 3 * os.sysconf("SC_PAGE_SIZE")


def test_descendants_are_found_through_generations() -> None:
    def stat(parent: int) -> object:
        return parse_stat(f"1 (x) S {parent} " + " ".join(["0"] * 40))

    processes = {2: stat(1), 3: stat(2), 4: stat(3), 5: stat(1)}
    assert with_descendants({2, 9}, processes) == {2, 3, 4}  # type: ignore[arg-type]


def test_a_system_is_its_daemons_too_and_ends_with_them(tmp_path: Path) -> None:
    daemon = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {!r}], start_new_session=True)"
    burn = "import time\nuntil = time.time() + 60\nwhile time.time() < until: sum(range(1000))"
    with Running([sys.executable, "-c", daemon.format(burn)], {}, log=tmp_path / "log", grace_s=0.5) as running:
        running.root.wait(10)
        with Meter(running) as meter:
            threading.Event().wait(0.5)
        left = running.members()
        assert len(left) == 1  # its parent is gone, its session is its own
        assert meter.usage.cpu_s > 0.05
        assert meter.usage.peak_rss > 2**20
    assert not any(map(runs, left))


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
    return Target(system, Case("doubler", "tensor", (1, 1, 4), 1.0), url, None, samples)  # type: ignore[arg-type]


def test_right_answers_pass_and_one_wrong_among_many_does_not(doubler: str) -> None:
    assert compare(target(doubler, [[2, 2], [4, 4.001], [6, 6]])) == pytest.approx(0.001, rel=0.01)
    with pytest.raises(Unfit, match="wrong answer"):
        compare(target(doubler, [[2, 2], [4, 4.1], [6, 6]]))
    with pytest.raises(Unfit, match="wrong answer"):
        compare(target(doubler, [[2, 2, 2]]))


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
