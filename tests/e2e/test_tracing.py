"""One trace through the whole fleet: gateway, service and answer; gateway, job, forked worker and webhook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from services.perception.classification.demo import stop_sign
from shared.imaging.dicom_writing import new_ct
from tests.e2e.fleet import Fleet, start_fleet
from tests.integration.webhooks.receivers import receiving
from tests.support.processes import until
from tests.support.trace_receiver import ReceivedSpan, TraceReceiver, receiving_traces

CALLER = "b7ad6b7169203331"
CLASSIFY, ENHANCE = "/v1/perception/classifications", "/v1/medical/ct/enhancements"

SLACK_NS = 2_000_000
"""Two processes look at their clocks apart."""


@pytest.fixture(scope="module")
def traces() -> Iterator[TraceReceiver]:
    with receiving_traces() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(traces: TraceReceiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    environment = {
        "FACET_TRACING": "otlp",
        "FACET_TRACING_ENDPOINT": traces.url,
        "FACET_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    folder: Path = tmp_path_factory.mktemp("traced")
    running = start_fleet(folder, arguments=["--without-torch"], environment=environment)
    yield running
    assert running.stop() == 0


@pytest.fixture
def caller(traced: Fleet) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=traced.url, timeout=60, trust_env=False) as http:
        yield http


def headers(trace_id: str, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{CALLER}-{flags}"}


def found(spans: list[ReceivedSpan], service: str, name: str) -> ReceivedSpan:
    (span,) = [span for span in spans if (span.service, span.name) == (f"facet-{service}", name)]
    return span


def is_within(inner: ReceivedSpan, outer: ReceivedSpan, *, slack_ns: int = 0) -> bool:
    return outer.began_ns - slack_ns <= inner.began_ns <= inner.ended_ns <= outer.ended_ns + slack_ns


def test_gateway_service_and_phases_are_one_trace(caller: httpx.Client, traces: TraceReceiver) -> None:
    trace_id = "1" * 32
    answer = caller.post(CLASSIFY, files={"file": ("jane.png", stop_sign())}, headers=headers(trace_id))
    assert answer.status_code == 200
    ends = {("facet-gateway", "server"), ("facet-gateway", "client"), ("facet-perception", "server")}
    until(lambda: ends <= {(span.service, span.kind) for span in traces.of(trace_id)})
    spans = traces.of(trace_id)
    door = found(spans, "gateway", f"POST {_gateway_route(spans)}")
    hop = found(spans, "gateway", "POST")
    service = found(spans, "perception", f"POST {CLASSIFY}")
    assert [span.kind for span in (door, hop, service)] == ["server", "client", "server"]
    assert [span.parent_id for span in (door, hop, service)] == [CALLER, door.span_id, hop.span_id]
    assert answer.headers["traceparent"] == f"00-{trace_id}-{door.span_id}-01"
    phases = {span.name: span for span in spans if span.kind == "internal"}
    assert set(phases) == {"queue", "pre", "infer", "post"}
    for span in (span for span in spans if span.kind == "internal"):
        assert span.parent_id == service.span_id
        assert span.attributes["facet.model.name"] == "traffic-signs"
        assert is_within(span, service)
        assert is_within(span, hop, slack_ns=SLACK_NS)
    assert phases["infer"].attributes["facet.batch.rows"] == 1
    assert phases["queue"].ended_ns == phases["infer"].began_ns
    # The service ends its span once all is sent: the gateway may have ended its own by then.
    assert hop.began_ns - SLACK_NS <= service.began_ns <= hop.ended_ns
    assert "jane" not in str(spans).lower()


def _gateway_route(spans: list[ReceivedSpan]) -> str:
    (door,) = [span for span in spans if (span.service, span.kind) == ("facet-gateway", "server")]
    return str(door.attributes["http.route"])


def test_a_job_and_its_webhook_are_in_the_trace_of_the_request(caller: httpx.Client, traces: TraceReceiver) -> None:
    trace_id = "2" * 32
    slice_ = new_ct(np.zeros((64, 64), np.float32), spacing_mm=(1.0, 1.0), series_description="-", derivation="-")
    with receiving() as receiver:
        wanted = {"url": receiver.url, "events": ["job.succeeded"]}
        assert caller.post("/v1/webhooks", json=wanted).status_code == 201
        files = {"file": ("jane.dcm", slice_)}
        made = caller.post(ENHANCE, files=files, headers={**headers(trace_id), "Prefer": "respond-async, wait=30"})
        assert made.json()["status"] == "succeeded", made.text
        until(lambda: any("facet.webhook.id" in span.attributes for span in traces.of(trace_id)))
        until(lambda: any(span.service == "facet-worker-onnx" for span in traces.of(trace_id)))
        sent = receiver.received[-1].headers["traceparent"]
    until(lambda: any(span.kind == "server" and span.service == "facet-medical" for span in traces.of(trace_id)))
    spans = traces.of(trace_id)
    service = found(spans, "medical", f"POST {ENHANCE}")
    (creation,) = [span for span in spans if span.kind == "producer"]
    (attempt,) = [span for span in spans if span.kind == "consumer"]
    (delivery,) = [span for span in spans if "facet.webhook.id" in span.attributes]
    assert creation.parent_id == service.span_id
    assert (attempt.service, attempt.parent_id) == ("facet-worker-onnx", creation.span_id)
    assert creation.attributes["facet.job.id"] == attempt.attributes["facet.job.id"] == made.json()["id"]
    assert (attempt.attributes["facet.job.attempt"], attempt.attributes["facet.job.outcome"]) == (1, "succeeded")
    assert "checkpoint" in attempt.events
    assert (delivery.kind, delivery.parent_id) == ("client", creation.span_id)
    assert sent == f"00-{trace_id}-{delivery.span_id}-01"
    assert not any(span.failed for span in spans)
    assert "jane" not in str(spans).lower()


def test_who_does_not_want_to_be_recorded_is_not(caller: httpx.Client, traces: TraceReceiver) -> None:
    quiet, heard = "3" * 32, "4" * 32
    for trace_id, flags in ((quiet, "00"), (heard, "01")):
        assert caller.get("/v1/models", headers=headers(trace_id, flags)).status_code == 200
    assert caller.get("/health/live", headers=headers(quiet)).status_code == 200
    until(lambda: bool(traces.of(heard)))
    assert not traces.of(quiet)
