from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http.middleware import Telemetry
from shared.request_context import current_context
from shared.telemetry.lines import RequestLines
from shared.telemetry.logs import JsonFormatter
from shared.telemetry.metrics import HttpMetrics
from shared.telemetry.timing import Timings, collecting, timed

TRACEPARENT = f"00-{'1' * 32}-{'2' * 16}-01"


class Route:
    path = "/things/{id}"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    scope["route"] = Route
    with timed("pre"), timed("infer"):
        pass
    headers = [(b"x-request-id", b"inner"), (b"server-timing", b"inner;dur=1")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": b"made"})


async def fail_early(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("password=secret")


async def fail_before_the_first_part(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    raise RuntimeError("password=secret")


async def fail_late(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise RuntimeError("password=secret")


def client_of(app: ASGIApp, metrics: HttpMetrics | None = None, lines: RequestLines | None = None) -> httpx.AsyncClient:
    silent = RequestLines("test", write=lambda _: None)
    wrapped = Telemetry(app, metrics=metrics or HttpMetrics("test"), lines=lines or silent)
    return httpx.AsyncClient(transport=httpx.ASGITransport(wrapped), base_url="http://facet.example")


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("facet.http")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


async def test_an_answer_carries_its_identity_once() -> None:
    async with client_of(answer) as client:
        found = await client.get("/things/1", headers={"X-Request-ID": "mine", "traceparent": TRACEPARENT})
    assert found.headers.get_list("x-request-id") == ["mine"]
    version, trace, span, flags = found.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", "1" * 32, "01")
    assert span != "2" * 16
    assert found.headers["x-content-type-options"] == "nosniff"


async def test_phases_are_told_beside_what_the_application_says() -> None:
    async with client_of(answer) as client:
        theirs, ours = (await client.get("/things/1")).headers.get_list("server-timing")
    assert theirs == "inner;dur=1"
    assert [phase.partition(";")[0] for phase in ours.split(", ")] == ["infer", "pre"]


async def test_requests_are_counted_by_template_and_by_known_methods() -> None:
    metrics = HttpMetrics("test")
    async with client_of(answer, metrics) as client:
        await client.get("/things/1")
        await client.request("BREW", "/things/2")
    text = metrics.render().decode()
    for method in ("GET", "OTHER"):
        labels = f'method="{method}",process="test",route="/things/{{id}}",status="201"'
        assert f"facet_http_requests_total{{{labels}}} 1.0" in text
    assert 'facet_http_phase_seconds_count{phase="infer",process="test",route="/things/{id}"} 2.0' in text
    assert 'facet_http_requests_in_flight{process="test"} 0.0' in text


async def test_what_no_route_matched_is_one_series() -> None:
    metrics = HttpMetrics("test")
    async with client_of(fail_early, metrics) as client:
        await client.get("/a")
        await client.get("/b")
    assert 'route="unmatched",status="500"} 2.0' in metrics.render().decode()


@pytest.mark.parametrize("application", [fail_early, fail_before_the_first_part])
async def test_an_unhandled_error_is_a_problem_without_its_text(lines: Lines, application: ASGIApp) -> None:
    async with client_of(application) as client:
        found = await client.get("/x", headers={"X-Request-ID": "mine"})
    assert (found.status_code, found.headers["content-type"]) == (500, "application/problem+json")
    assert (found.json()["request_id"], found.json()["instance"]) == ("mine", "/x")
    assert "secret" not in found.text
    assert found.headers["x-request-id"] == "mine"
    assert [record.getMessage() for record in lines.records] == ["unhandled error"]
    assert lines.records[0].exc_info


async def test_an_error_in_the_middle_of_an_answer_breaks_it_off() -> None:
    async with client_of(fail_late) as client:
        with pytest.raises(RuntimeError):
            await client.get("/x")


async def test_one_line_is_logged_and_none_for_probes(lines: Lines) -> None:
    written: list[bytes] = []
    requests = RequestLines("test", write=written.append)
    async with client_of(answer, lines=requests) as client:
        await client.get("/things/1?patient=Jane")
        for path in ("/metrics", "/health/live", "/health/ready"):
            await client.get(path)
    requests.flush()
    (line,) = b"".join(written).splitlines()
    entry = json.loads(line)
    assert lines.records == []
    assert datetime.fromisoformat(entry["time"]).timestamp() == pytest.approx(time.time(), abs=5)
    assert (entry["method"], entry["route"], entry["status"], entry["level"]) == ("GET", "/things/{id}", 201, "info")
    assert set(entry["phases_ms"]) == {"pre", "infer"}
    assert "Jane" not in json.dumps(entry)


async def test_the_context_ends_with_the_request() -> None:
    async with client_of(answer) as client:
        await client.get("/things/1")
    assert current_context() is None


async def test_other_protocols_pass_untouched() -> None:
    seen: list[Any] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    async def nothing(*_: Any) -> Any: ...

    scope = {"type": "lifespan"}
    await Telemetry(inner, metrics=HttpMetrics("test"))(scope, nothing, nothing)
    assert seen == [(scope, nothing, nothing)]


def test_phases_add_up_and_read_as_milliseconds() -> None:
    timings = Timings()
    timings.add("pre", 1.0, 1.001)
    timings.add("infer", 1.0, 1.25)
    timings.add("pre", 2.0, 2.0005)
    assert timings.header() == "pre;dur=1.5, infer;dur=250.0"
    assert Timings().header() == ""


def test_timing_outside_of_a_request_is_no_error() -> None:
    with timed("pre"):
        pass
    with collecting() as timings, pytest.raises(ValueError, match="x"), timed("post"):
        raise ValueError("x")
    assert set(timings.seconds) == {"post"}


def test_a_log_line_is_one_object_with_its_request() -> None:
    formatter = JsonFormatter("gateway", lambda: {"request_id": "mine"})
    record = logging.getLogger("x").makeRecord(
        "x", logging.WARNING, "f", 1, "two\nlines %s", ("here",), None, extra={"digest": "sha256:0", "odd": object}
    )
    line = formatter.format(record)
    entry = json.loads(line)
    assert "\n" not in line
    assert (entry["message"], entry["process"], entry["request_id"]) == ("two\nlines here", "gateway", "mine")
    assert entry["digest"] == "sha256:0"
    assert entry["time"].endswith("+00:00")
