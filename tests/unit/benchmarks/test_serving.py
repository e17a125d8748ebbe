"""What the serving benchmark plans, remembers, asks and reports."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from shared.imaging.preprocessing import Preprocessing
from tests.benchmarks.serving import wire
from tests.benchmarks.serving.__main__ import destination, parse, turns
from tests.benchmarks.serving.arrivals import whole_request
from tests.benchmarks.serving.cases import CASES, Case, Sample, decode, draw_photo
from tests.benchmarks.serving.processes import Meter, Running, kind_of, parse_stat, with_descendants
from tests.benchmarks.serving.report import as_markdown, best_peer, memory, ratios
from tests.benchmarks.serving.rows import BARE, Failure, Ledger, Row, cell, paired_ratio
from tests.benchmarks.serving.servers import common
from tests.benchmarks.serving.systems import FACET, SYSTEMS, Start
from tests.benchmarks.serving.versions import fingerprint, version_of
from tests.benchmarks.serving.wire import Call
from tests.benchmarks.serving.wrk import WrkFailed
from tests.benchmarks.serving.wrk import parse as parse_wrk
from tests.support.processes import runs

COUNTED = (
    '{"duration": 2000000, "answers": 110, "p50": 1500, "p95": 2500, "p99": 4000, "status": 10, "socket": 2, '
    '"timeout": 1}'
)
MACHINE = {
    "cpu": "a CPU", "cores": 2, "memory_gib": 4, "python": "3.11", "onnxruntime": "1", "wrk": "wrk 4",
    "date": "2026-01-01", "commit": "abc1234",
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
    rows = [row("facet", 100), row("facet-multipart", 95), row("plain-uvicorn", 90)]
    rows += [row("triton", 10), row("mlserver", 11)]
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
    assert again.concurrencies(0, "facet", "tiny", fingerprint="") == {4}
    assert again.concurrencies(1, "facet", "tiny", fingerprint="") == set()
    assert again.standing_failures == again.failures
    again.add(row("triton", 10))
    assert again.standing_failures == []


def test_every_system_is_first_in_some_repeat_and_none_is_left_out() -> None:
    systems, cases = [SYSTEMS[name] for name in ("facet", "triton", "litserve")], [CASES["tiny"]]
    order = [turn.system.name for turn in turns(systems, cases, repeats=3)]
    names = [system.name for system in systems]
    assert [order[0], order[3], order[6]] == names
    assert all(sorted(order[at : at + 3]) == sorted(names) for at in (0, 3, 6))


def test_a_system_without_a_form_for_a_case_is_left_out_of_it() -> None:
    systems = [SYSTEMS["facet"], SYSTEMS["facet-multipart"]]
    order = [(turn.case.name, turn.system.name) for turn in turns(systems, list(CASES.values()), repeats=1)]
    assert {case for case, system in order if system == "facet"} == set(CASES)
    assert {case for case, system in order if system == "facet-multipart"} == {"traffic-signs", "photo"}


def test_a_row_is_measured_again_when_what_it_depends_on_changes(tmp_path: Path) -> None:
    before = replace(row("facet", 20), fingerprint="before")
    report = tmp_path / "results.json"
    report.write_text(json.dumps({"rows": [asdict(before), {"repeat": 0, "system": "facet", "model": "tiny"}]}))
    ledger = Ledger(tmp_path / "rows.jsonl", report=report)
    assert ledger.rows == [before]  # the other one is of a report without fingerprints
    assert ledger.concurrencies(0, "facet", "tiny", fingerprint="before") == {16}
    assert ledger.concurrencies(0, "facet", "tiny", fingerprint="after") == set()
    after = replace(row("facet", 30), fingerprint="after")
    ledger.add(after)
    assert ledger.rows == Ledger(tmp_path / "rows.jsonl", report=report).rows == [after]


def test_a_fingerprint_is_of_case_request_machine_and_window(tmp_path: Path) -> None:
    machine = {"cpu": "a CPU", "cores": 2, "memory_gib": 4, "python": "3.11"}
    system, case, start, call = SYSTEMS["litserve"], CASES["tiny"], Start(tmp_path, tmp_path, threads=2), Call(b"x", {})
    file = case.file(tmp_path)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"a model")
    first = fingerprint(system, case, start, call, machine, seconds=2.0)
    assert fingerprint(system, case, start, call, dict(machine), seconds=2.0) == first
    others = [
        fingerprint(SYSTEMS["triton"], case, start, call, machine, seconds=2.0),
        fingerprint(system, replace(case, name="other"), start, call, machine, seconds=2.0),
        fingerprint(system, case, start, Call(b"y", {}), machine, seconds=2.0),
        fingerprint(system, case, start, call, {**machine, "cores": 4}, seconds=2.0),
        fingerprint(system, case, start, call, machine, seconds=4.0),
    ]
    file.write_bytes(b"another model")
    others.append(fingerprint(system, case, start, call, machine, seconds=2.0))
    assert len({first, *others}) == 7


def test_versions_name_the_package_and_the_code_around_it() -> None:
    assert re.fullmatch(r"litserve [\d.]+ \([0-9a-f]{8}\)", version_of(SYSTEMS["litserve"]))
    assert re.fullmatch(r"tree [0-9a-f]{8}", version_of(SYSTEMS["facet"]))
    assert version_of(SYSTEMS["facet"]) == version_of(SYSTEMS["facet-multipart"])


def test_images_are_read_alike_by_reference_peers_and_facet() -> None:
    file = draw_photo(np.random.default_rng(5), side=512)
    assert 55_000 < len(file) < 65_000
    right = decode(file, side=224)
    assert right.shape == (3, 224, 224)
    assert np.ptp(right) > 0.5
    facet = Preprocessing().read(file, height=224, width=224, pixel_limit=512 * 512, pointer="/body")
    np.testing.assert_allclose(common.decode(file, height=224, width=224), right, atol=1e-6)
    np.testing.assert_allclose(facet, right, atol=1e-6)


def test_a_query_is_part_of_what_is_asked() -> None:
    url = FACET.url(CASES["photo"], 80)
    assert url.endswith("/v1/perception/classifications?model=large")
    assert whole_request(url, b"", {}).startswith(b"POST /v1/perception/classifications?model=large HTTP/1.1\r\n")


def test_an_image_is_the_body_or_a_file_of_a_form() -> None:
    case = CASES["traffic-signs"]
    posted = FACET.forms["image"].encode(case, sample())
    assert (posted.body, posted.headers) == (b"\x89PNG", {"Content-Type": "image/png"})
    form = SYSTEMS["facet-multipart"].forms["image"].encode(case, sample()).body
    assert b'name="model"\r\n\r\ntraffic-signs\r\n' in form
    assert b"Content-Type: image/png\r\n\r\n\x89PNG\r\n" in form


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (["python", "-m", "deploy.serve", "gateway"], "gateway"),
        (["python", "-m", "services.worker", "--weight", "onnx"], "worker-onnx"),
        (["python", "-m", "tests.benchmarks.serving.servers.litserve_server"], "litserve_server"),
        (["python", "-c", "from multiprocessing.spawn import spawn_main"], "multiprocessing"),
        (["/x/redis-server 127.0.0.1:1"], "redis-server"),
        (["ray::IDLE"], "ray::IDLE"),
        ([], "ended"),
    ],
)
def test_processes_are_told_apart_by_what_they_run(command: list[str], kind: str) -> None:
    assert kind_of(command) == kind


def test_memory_is_told_by_kind_of_process() -> None:
    rows = [
        replace(
            row("facet", 1, concurrency=concurrency), peak_rss_mib=mib + 20, processes={"gateway": mib, "redis": 20}
        )
        for concurrency, mib in ((16, 50), (64, 100))
    ]
    assert memory(rows) == [{"case": "tiny", "system": "facet", "all": "120", "by kind": "gateway 100, redis 20"}]


def test_windows_other_than_usual_do_not_come_among_the_usual() -> None:
    assert destination(parse([])).name == "results"
    assert destination(parse(["--repeats", "1"])).name == "partial"
    assert destination(parse(["--seconds", "1"])).name == "partial"
    assert destination(parse(["--systems", "facet", "--cases", "tiny", "--concurrency", "16"])).name == "results"
    assert destination(parse(["--cases", "tiny", "--out", "x/y"])) == Path("x/y")


def test_binary_tensors_come_back_as_they_went() -> None:
    call = wire.binary_tensor(Case("tiny", "tiny", "tensor", (3, 2, 2), 1.0), sample())
    length = int(call.headers[wire.HEADER_LENGTH])
    described = json.loads(call.body[:length])["inputs"][0]
    assert (described["shape"], described["parameters"]["binary_data_size"]) == ([1, 3, 2, 2], 48)
    assert np.array_equal(
        wire.read_binary_tensor({"inference-header-content-length": str(length)}, call.body), np.arange(12)
    )


def test_a_picture_as_an_element_has_its_length_before_it() -> None:
    call = wire.binary_tensor(Case("signs", "traffic-signs", "image", (3, 2, 2), 1.0, "image/png"), sample())
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
