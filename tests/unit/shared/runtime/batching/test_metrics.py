"""What /metrics says of batches and queues, read back as Prometheus reads it."""

from __future__ import annotations

import asyncio
import threading

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shared.http.middleware import Telemetry
from shared.problems import GatewayTimeout, ServiceUnavailable
from shared.runtime.batching.batcher import Batcher
from shared.runtime.batching.items import Answer, Arrays, BatchLimits
from shared.runtime.batching.metrics import BatchMetrics, QueueMetrics
from shared.runtime.compute_pool import ComputePool
from shared.telemetry.metrics import HttpMetrics
from shared.telemetry.timing import count_batch, note_model, timed

KEY = ("signs", "1.0.0")


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """One sample of a scrape."""
    text = generate_latest(registry).decode()
    (found,) = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return found


def of_model(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return value(registry, name, model="signs", version="1.0.0", **labels)


class Gate:
    """A model that computes when it is let."""

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), threading.Event()

    def __call__(self, inputs: Arrays) -> Answer:
        self.entered.set()
        assert self.open.wait(20)
        return [inputs["x"]]


def row(number: float) -> Arrays:
    return {"x": np.full((1, 2), number, np.float32)}


async def test_queues_are_read_and_refusals_counted() -> None:
    registry, gate = CollectorRegistry(), Gate()
    limits = BatchLimits(rows=1, queue=2)
    batcher = Batcher(gate, limits=limits, observe=BatchMetrics(registry).observer(*KEY))
    QueueMetrics(registry).watch(lambda: {KEY: [batcher]}, {})
    running = asyncio.create_task(batcher.infer(row(1)))
    await asyncio.to_thread(gate.entered.wait)
    late = asyncio.create_task(batcher.infer(row(2), deadline_s=0.3))
    waits = asyncio.create_task(batcher.infer(row(3)))
    await asyncio.sleep(0.05)
    assert of_model(registry, "facet_batch_waiting") == 2
    with pytest.raises(ServiceUnavailable):
        await batcher.infer(row(4))
    with pytest.raises(GatewayTimeout):
        await late
    gate.open.set()
    await asyncio.gather(running, waits)
    await batcher.close()
    assert of_model(registry, "facet_batch_waiting") == 0
    assert of_model(registry, "facet_batch_rejected_total", reason="queue_full") == 1
    assert of_model(registry, "facet_batch_rejected_total", reason="deadline") == 0
    assert of_model(registry, "facet_batch_expired_total") == 1
    assert of_model(registry, "facet_batch_rows_count") == 2


async def test_equal_requests_and_unmet_deadlines_are_counted() -> None:
    registry, gate = CollectorRegistry(), Gate()
    batcher = Batcher(gate, limits=BatchLimits(rows=1, coalesce=True, answers=4))
    QueueMetrics(registry).watch(lambda: {KEY: [batcher]}, {})
    running = asyncio.create_task(batcher.infer(row(1)))
    await asyncio.to_thread(gate.entered.wait)
    twin = asyncio.create_task(batcher.infer(row(1)))
    await asyncio.sleep(0.05)
    gate.open.set()
    await asyncio.gather(running, twin)
    await batcher.infer(row(1))
    gate.open.clear()
    gate.entered.clear()
    busy = asyncio.create_task(batcher.infer(row(2)))
    await asyncio.to_thread(gate.entered.wait)
    with pytest.raises(ServiceUnavailable):
        await batcher.infer(row(3), deadline_s=0.0)
    gate.open.set()
    await busy
    await batcher.close()
    assert of_model(registry, "facet_batch_coalesced_total") == 1
    assert of_model(registry, "facet_batch_remembered_total") == 1
    assert of_model(registry, "facet_batch_rejected_total", reason="deadline") == 1


async def test_pools_are_read() -> None:
    registry, pool, gate = CollectorRegistry(), ComputePool(queue=1), threading.Event()
    QueueMetrics(registry).watch(dict, {"compute": pool})
    running = [asyncio.create_task(pool.run(gate.wait, 20)) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert value(registry, "facet_pool_waiting", pool="compute") == 1
    with pytest.raises(ServiceUnavailable):
        await pool.run(gate.wait, 20)
    gate.set()
    await asyncio.gather(*running)
    assert value(registry, "facet_pool_waiting", pool="compute") == 0
    assert value(registry, "facet_pool_rejected_total", pool="compute") == 1


async def test_phases_by_model_are_those_of_server_timing() -> None:
    async def answer(scope: object, receive: object, send: object) -> None:
        assert callable(send)
        with timed("pre"):
            note_model(*KEY)
        count_batch(arrived=1.0, began=1.25, ended=3.25, rows=1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    metrics = HttpMetrics("test")
    transport = httpx.ASGITransport(Telemetry(answer, metrics=metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://facet.example") as client:
        for _ in range(3):
            timing = (await client.get("/x")).headers["Server-Timing"]
    assert timing.endswith("queue;dur=250.0, infer;dur=2000.0")
    for phase, seconds in (("queue", 0.75), ("infer", 6.0)):
        assert of_model(metrics.registry, "facet_model_phase_seconds_sum", phase=phase) == pytest.approx(seconds)
        assert of_model(metrics.registry, "facet_model_phase_seconds_count", phase=phase) == 3
    assert of_model(metrics.registry, "facet_model_phase_seconds_count", phase="pre") == 3
