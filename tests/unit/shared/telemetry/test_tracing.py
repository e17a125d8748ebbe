"""What is recorded, who decides it, and that tracing never stands in the way of an answer."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from shared.http.middleware import Telemetry
from shared.request_context import RequestContext, current_context, new_context
from shared.settings import Settings
from shared.telemetry import spans, tracing
from shared.telemetry.metrics import HttpMetrics
from shared.telemetry.span_recording import Span, Tracer
from shared.telemetry.spans import begin_hop, job_attempt, record_delivery
from shared.telemetry.timing import count_batch, note_model, timed
from shared.telemetry.tracing import TracingUnavailable, require_tracing, start_tracing, stop_tracing
from tests.support.trace_receiver import receiving_traces

ROOT = Path(__file__).parents[4]
TRACE, CALLER = "1" * 32, "2" * 16
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"

SLACK_NS = 2_000_000
"""The offset between two clocks is known to as much as looking at both takes."""


@dataclass
class Recorded:
    """A tracer whose spans stay here."""

    spans: list[Span] = field(default_factory=list)

    def tracer(self, share: float = 1.0) -> Tracer:
        return Tracer(share, self.spans.append, lambda: None)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded()
    monkeypatch.setattr(tracing, "active", recorded.tracer())
    return recorded


@pytest.fixture
def stopped() -> Iterator[None]:
    yield
    stop_tracing()


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    with timed("pre"):
        note_model("signs", "1.0.0")
    arrived = time.perf_counter()
    count_batch(arrived=arrived, began=arrived + 0.002, ended=arrived + 0.005, rows=7)
    last = scope["path"].rpartition("/")[2]
    status = int(last) if last.isdigit() else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def get(path: str, *, traceparent: str = "", from_strangers: bool = True) -> httpx.Response:
    app = Telemetry(answer, metrics=HttpMetrics("test"), behind_gateway=not from_strangers)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.example") as client:
        return await client.get(path, headers={"traceparent": traceparent} if traceparent else {})


@pytest.mark.parametrize(
    ("traceparent", "from_strangers", "share", "expected"),
    [
        ("", True, 1.0, True),
        ("", True, 0.0, False),
        (SAMPLED, True, 1.0, True),
        (SAMPLED, True, 0.0, False),  # a stranger cannot have itself recorded
        (UNSAMPLED, True, 1.0, False),
        (SAMPLED, False, 0.0, True),  # but the gateway can
        (UNSAMPLED, False, 1.0, False),
        ("", False, 1.0, True),
        ("", False, 0.0, False),
    ],
)
def test_who_decides(traceparent: str, from_strangers: bool, share: float, expected: bool) -> None:
    context = new_context(traceparent=traceparent)
    decided = Recorded().tracer(share).decide(context, from_strangers=from_strangers)
    assert decided.sampled is expected
    assert (decided.trace_id, decided.span_id, decided.parent_id) == (
        context.trace_id,
        context.span_id,
        context.parent_id,
    )


def test_a_strangers_trace_id_does_not_sway_the_draw() -> None:
    tracer = Recorded().tracer(0.3)
    low = new_context(traceparent=f"00-{'0' * 31}1-{CALLER}-01")  # what samplers by trace id would always take
    share = sum(tracer.decide(low, from_strangers=True).sampled for _ in range(4000)) / 4000
    assert share == pytest.approx(0.3, abs=0.05)


def test_other_flags_stay() -> None:
    context = new_context(traceparent=f"00-{TRACE}-{CALLER}-03")
    assert Recorded().tracer(0.0).decide(context, from_strangers=True).trace_flags == "02"


async def test_a_request_and_its_phases(recorded: Recorded) -> None:
    response = await get("/things/200?patient=Jane", traceparent=SAMPLED)
    *phases, server = recorded.spans
    assert (server.kind, server.context.parent_id, server.error) == ("server", CALLER, None)
    assert response.headers["traceparent"] == f"00-{TRACE}-{server.context.span_id}-01"
    assert server.attributes["http.response.status_code"] == 200
    assert [(span.name, span.context.parent_id) for span in phases] == [
        (name, server.context.span_id) for name in ("pre", "queue", "infer")
    ]
    queue, infer = phases[1:]
    assert infer.attributes == {"facet.model.name": "signs", "facet.model.version": "1.0.0", "facet.batch.rows": 7}
    assert infer.ended_ns - infer.began_ns == pytest.approx(3e6, abs=2)
    assert queue.ended_ns == infer.began_ns
    assert "Jane" not in str(recorded.spans)


async def test_phases_lie_within_their_request_where_the_process_is_put_aside_while_it_looks_at_its_clocks(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = iter((0.02, 0.01))

    def time_ns() -> int:
        time.sleep(next(pauses, 0.0))
        return time.time_ns()

    monkeypatch.setattr(spans, "time", SimpleNamespace(time_ns=time_ns, perf_counter_ns=time.perf_counter_ns))
    before_ns = time.time_ns()
    await get("/things/200", traceparent=SAMPLED)
    after_ns = time.time_ns()
    *phases, server = recorded.spans
    assert next(pauses, None) is None, "the clocks were looked at again"
    assert before_ns - SLACK_NS <= server.began_ns <= phases[0].began_ns <= phases[0].ended_ns
    assert phases[0].ended_ns <= server.ended_ns <= after_ns + SLACK_NS


async def test_a_failed_request_is_an_error_and_a_refused_one_is_not(recorded: Recorded) -> None:
    await get("/things/503")
    await get("/things/404")
    failed, refused = [span for span in recorded.spans if span.kind == "server"]
    assert (failed.error, failed.attributes["error.type"], refused.error) == ("503", "503", None)


async def test_probes_and_what_was_not_drawn_are_not_recorded(recorded: Recorded) -> None:
    await get("/things/200", traceparent=UNSAMPLED)
    for path in ("/metrics", "/health/live", "/health/ready"):
        assert (await get(path)).status_code == 200
    assert recorded.spans == []


async def test_off_leaves_traceparent_as_it_was() -> None:
    assert tracing.active is None
    assert (await get("/things/200", traceparent=SAMPLED)).headers["traceparent"].endswith("-01")
    assert (await get("/things/200", traceparent=UNSAMPLED)).headers["traceparent"].endswith("-00")
    assert begin_hop(new_context(traceparent=SAMPLED), method="GET", service="medical") is None


@dataclass(frozen=True)
class Job:
    id: str = "job"
    kind: str = "test.count"
    queue: str = "medical.onnx"


def test_an_attempt_that_breaks_off_is_recorded(recorded: Recorded) -> None:
    def work() -> None:
        with job_attempt(new_context(traceparent=SAMPLED), Job(), 2):
            tracing.add_event("checkpoint", {})
            raise KeyError("a secret")

    with pytest.raises(KeyError):
        work()
    (span,) = recorded.spans
    assert (span.error, span.attributes["facet.job.attempt"]) == ("KeyError", 2)
    assert [name for _, name, _ in span.events] == ["checkpoint"]
    assert "secret" not in str((span.error, span.attributes, span.events))


def test_a_delivery_that_found_nobody(recorded: Recorded) -> None:
    sent = f"00-{TRACE}-{'3' * 16}-01"
    record_delivery(parent=SAMPLED, sent_as=sent, webhook="w", attempt=2, began_ns=1, status=None)
    (span,) = recorded.spans
    assert (span.context.span_id, span.context.parent_id, span.error) == ("3" * 16, CALLER, "no_answer")
    record_delivery(parent=UNSAMPLED, sent_as=sent[:-1] + "0", webhook="w", attempt=2, began_ns=1, status=None)
    assert len(recorded.spans) == 1


def traced(url: str) -> Settings:
    return Settings(_env_file=None, tracing="otlp", tracing_endpoint=url)


@pytest.mark.usefixtures("stopped")
def test_stopping_sends_what_waits() -> None:
    with receiving_traces() as receiver:
        start_tracing("test", traced(receiver.url))
        for _ in range(1000):
            hop = begin_hop(new_context(traceparent=SAMPLED), method="GET", service="medical")
            assert hop is not None
            hop.end()
        stop_tracing()
        assert len(receiver.spans) == 1000
    assert {span.service for span in receiver.spans} == {"facet-test"}
    assert {span.trace_id for span in receiver.spans} == {TRACE}


@pytest.mark.usefixtures("stopped")
async def test_a_receiver_that_is_away_costs_nobody_an_answer() -> None:
    start_tracing("test", traced("http://127.0.0.1:1"))
    began = time.monotonic()
    for _ in range(100):
        assert (await get("/things/200")).status_code == 200
    assert time.monotonic() - began < 5
    began = time.monotonic()
    stop_tracing()
    assert time.monotonic() - began < 5


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(_env_file=None, tracing="otlp")
    require_tracing(settings)
    monkeypatch.setitem(tracing._NEEDED, "otlp", ("opentelemetry.sdk", "not_there.at_all"))
    with pytest.raises(TracingUnavailable, match=r"FACET_TRACING=otlp .*not_there\.at_all.*\[tracing\]"):
        require_tracing(settings)
    require_tracing(Settings(_env_file=None))


def test_off_loads_neither_the_tracing_of_the_sdk_nor_an_exporter() -> None:
    # redis-py loads the metrics of the SDK wherever that is installed, whatever Facet does.
    unwanted = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "shared.telemetry.exporting")
    script = (
        "import sys, gateway.app, services.worker, services.medical.app\n"
        "gateway.app.create_app(), services.medical.app.create_app()\n"
        f"print(*[name for name in sys.modules if name.startswith({unwanted!r})])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_hop_goes_on_under_its_own_id(recorded: Recorded) -> None:
    context = new_context(traceparent=SAMPLED)
    hop = begin_hop(context, method="GET", service="medical")
    assert isinstance(hop, Span)
    assert isinstance(hop.context, RequestContext)
    assert hop.context.traceparent == f"00-{TRACE}-{hop.context.span_id}-01"
    assert hop.context.parent_id == context.span_id
    assert current_context() is None
    assert recorded.spans == []
