"""The batcher with a model that is a function: held at a gate where a test needs it to be busy."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.problems import GatewayTimeout, ServiceUnavailable
from shared.runtime.batching.batcher import Batcher
from shared.runtime.batching.items import Answer, Arrays, BatchLimits, BatchReport
from shared.runtime.batching.latency_model import LatencyModel
from shared.runtime.cancellation import current_cancellation
from shared.telemetry.timing import Timings, collecting
from tests.support.cancellation import is_interrupted


class Model:
    """Doubles its input; remembers its batches; waits at a gate while that is closed; refuses rows with a NaN."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.batches: list[tuple[int, ...]] = []
        self.interrupted: list[bool] = []

    def __call__(self, inputs: Arrays) -> Answer:
        x = inputs["x"]
        self.batches.append(x.shape)
        self.entered.release()
        assert self.gate.wait(20)
        interruption = current_cancellation()
        assert interruption is not None
        self.interrupted.append(is_interrupted(interruption))
        if np.isnan(x).any():
            raise ValueError("not a number")
        return [2 * x, x.sum(axis=tuple(range(1, x.ndim)))]


@asynccontextmanager
async def batcher(
    model: Callable[[Arrays], Answer], observe: Callable[[BatchReport], None] | None = None, **limits: Any
) -> AsyncIterator[Batcher]:
    made = Batcher(model, limits=BatchLimits(**limits), observe=observe)
    try:
        yield made
    finally:
        await made.close()


def row(value: float, *, rows: int = 1, width: int = 3) -> dict[str, NDArray[np.float32]]:
    return {"x": np.full((rows, width), value, np.float32)}


async def held(made: Batcher, model: Model) -> asyncio.Task[Answer]:
    """A request that the model is held in."""
    model.gate.clear()
    task = asyncio.create_task(made.infer(row(-1)))
    await asyncio.to_thread(model.entered.acquire)
    return task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_idle_model_is_run_at_once() -> None:
    model = Model()
    async with batcher(model) as made:
        doubled, total = await made.infer(row(2))
    np.testing.assert_array_equal(doubled, 4)
    np.testing.assert_array_equal(total, 6)
    assert model.batches == [(1, 3)]


async def test_what_arrives_together_is_one_batch_and_everybody_gets_his_own() -> None:
    model, reports = Model(), list[BatchReport]()
    async with batcher(model, reports.append) as made:
        answers = await asyncio.gather(*(made.infer(row(value, rows=1 + value % 3)) for value in range(6)))
        await settle()
    assert model.batches == [(12, 3)]
    for value, (doubled, total) in enumerate(answers):
        assert doubled.shape == (1 + value % 3, 3)
        np.testing.assert_array_equal(doubled, 2 * value)
        np.testing.assert_array_equal(total, 3 * value)
    assert [(report.items, report.rows, report.waiting) for report in reports] == [(6, 12, 0)]


async def test_what_arrives_while_the_model_is_busy_makes_the_next_batch() -> None:
    model = Model()
    async with batcher(model, rows=4) as made:
        first = await held(made, model)
        rest = [asyncio.create_task(made.infer(row(value))) for value in range(6)]
        await settle()
        assert made.waiting == 6
        model.gate.set()
        await asyncio.gather(first, *rest)
    assert model.batches == [(1, 3), (2, 3), (4, 3)]


async def test_other_shapes_and_dtypes_go_into_other_batches() -> None:
    model = Model()
    async with batcher(model) as made:
        first = await held(made, model)
        wide = [asyncio.create_task(made.infer(row(value, width=5))) for value in range(2)]
        single_threaded = [asyncio.create_task(made.infer(row(value))) for value in range(3)]
        double = asyncio.create_task(made.infer({"x": np.ones((1, 3))}))
        await settle()
        model.gate.set()
        await asyncio.gather(first, *wide, *single_threaded, double)
    assert model.batches == [(1, 3), (2, 5), (3, 3), (1, 3)]
    assert (await double)[0].dtype == np.float64


async def test_a_large_item_is_computed_alone_and_cost_parts_batches() -> None:
    model = Model()
    async with batcher(model, rows=4, cost=10) as made:
        first = await held(made, model)
        tasks = [asyncio.create_task(made.infer(row(0, rows=9), cost=1))]
        tasks += [asyncio.create_task(made.infer(row(1), cost=6)) for _ in range(3)]
        await settle()
        model.gate.set()
        await asyncio.gather(first, *tasks)
    assert model.batches == [(1, 3), (9, 3), (1, 3), (1, 3), (1, 3)]


async def test_one_bad_item_of_sixteen_spoils_no_other() -> None:
    model = Model()
    async with batcher(model) as made:
        values = [float(value) if value != 11 else float("nan") for value in range(16)]
        answers = await asyncio.gather(*(made.infer(row(value)) for value in values), return_exceptions=True)
    bad = [index for index, answer in enumerate(answers) if isinstance(answer, BaseException)]
    assert bad == [11]
    assert str(answers[11]) == "not a number"
    for index, answer in enumerate(answers):
        if index != 11:
            assert not isinstance(answer, BaseException)
            np.testing.assert_array_equal(answer[0], 2 * index)
    assert model.batches[0] == (16, 3)
    assert len(model.batches) == 17


async def test_a_full_queue_refuses_with_the_time_to_come_back() -> None:
    model = Model()
    async with batcher(model, queue=2) as made:
        for _ in range(3):
            await made.infer(row(0))
        first = await held(made, model)
        waiting = [asyncio.create_task(made.infer(row(1))) for _ in range(2)]
        await settle()
        with pytest.raises(ServiceUnavailable, match="2 requests wait") as refused:
            await made.infer(row(2))
        assert int(refused.value.headers["Retry-After"]) >= 1
        model.gate.set()
        await asyncio.gather(first, *waiting)


async def test_what_comes_too_late_is_not_computed() -> None:
    model = Model()
    async with batcher(model) as made:
        first = await held(made, model)
        late = asyncio.create_task(made.infer(row(7), deadline_s=0.01))
        in_time = asyncio.create_task(made.infer(row(8)))
        await asyncio.sleep(0.03)
        model.gate.set()
        with pytest.raises(GatewayTimeout):
            await late
        await asyncio.gather(first, in_time)
    assert model.batches == [(1, 3), (1, 3)]


async def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    model = Model()
    async with batcher(model, rows=1) as made:
        made._executors.multi_threaded.pace.learn(1, 5.0)
        first = await held(made, model)
        with pytest.raises(ServiceUnavailable, match="later than") as refused:
            await made.infer(row(1), deadline_s=0.5)
        assert int(refused.value.headers["Retry-After"]) == 5
        model.gate.set()
        await first


async def test_a_caller_who_leaves_frees_the_place_in_the_queue() -> None:
    model = Model()
    async with batcher(model, queue=1) as made:
        first = await held(made, model)
        leaving = asyncio.create_task(made.infer(row(1)))
        await settle()
        leaving.cancel()
        await settle()
        assert made.waiting == 0
        staying = asyncio.create_task(made.infer(row(2)))
        await settle()
        model.gate.set()
        await asyncio.gather(first, staying)
        with pytest.raises(asyncio.CancelledError):
            await leaving
    assert model.batches == [(1, 3), (1, 3)]


async def test_a_batch_is_stopped_only_when_nobody_wants_it_any_more() -> None:
    model = Model()
    async with batcher(model) as made:
        model.gate.clear()
        one, other = (asyncio.create_task(made.infer(row(value))) for value in range(2))
        await asyncio.to_thread(model.entered.acquire)
        one.cancel()
        await settle()
        model.gate.set()
        await other
        alone = await held(made, model)
        alone.cancel()
        await settle()
        model.gate.set()
        await made.infer(row(3))
    assert model.interrupted == [False, True, False]


async def test_equal_items_under_way_are_computed_once() -> None:
    model = Model()
    async with batcher(model, coalesce=True) as made:
        first = await held(made, model)
        twins = [asyncio.create_task(made.infer(row(4))) for _ in range(3)]
        joins = asyncio.create_task(made.infer(row(-1)))
        await settle()
        assert made.waiting == 1
        twins[0].cancel()
        await settle()
        model.gate.set()
        answers = await asyncio.gather(first, joins, *twins[1:])
        await made.infer(row(4))
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    np.testing.assert_array_equal(answers[2][0], 8)
    assert model.batches == [(1, 3), (1, 3), (1, 3)], "the third came later: nothing is kept"


async def test_who_joins_a_batch_under_way_is_told_of_his_own_time_only() -> None:
    model = Model()

    async def join(made: Batcher) -> Timings:
        with collecting() as timings:
            timings.intervals = []
            await made.infer(row(-1))
        return timings

    async with batcher(model, coalesce=True) as made:
        first = await held(made, model)
        await asyncio.sleep(0.02)
        joined = time.perf_counter()
        joins = asyncio.create_task(join(made))
        await settle()
        model.gate.set()
        await first
        timings = await joins
    assert timings.intervals is not None
    ((queue, *waited), (infer, *computed)) = timings.intervals
    assert (queue, infer) == ("queue", "infer")
    assert joined <= waited[0] == waited[1] == computed[0] <= computed[1] <= time.perf_counter()


async def test_answers_are_kept_up_to_a_number_and_cannot_be_changed() -> None:
    model = Model()
    async with batcher(model, answers=2) as made:
        for value in (1, 2, 1, 3, 2):
            (doubled, _) = await made.infer(row(value))
            np.testing.assert_array_equal(doubled, 2 * value)
        with pytest.raises(ValueError, match="read-only"):
            (await made.infer(row(2)))[0][0] = 9
        assert len(model.batches) == 4, "1 was used again before 3 came, so 2 had to go"
        await made.infer({"x": np.full((1, 3), 2, np.float64)})
    assert len(model.batches) == 5, "equal bytes of another dtype are another item"


async def test_closing_fails_what_waits_and_ends_what_runs() -> None:
    model = Model()
    made = Batcher(model)
    first = await held(made, model)
    waiting = asyncio.create_task(made.infer(row(1)))
    await settle()
    closing = asyncio.create_task(made.close())
    await settle()
    with pytest.raises(ServiceUnavailable, match="unloaded"):
        await waiting
    model.gate.set()
    await closing
    np.testing.assert_array_equal((await first)[0], -2)
    with pytest.raises(ServiceUnavailable, match="unloaded"):
        await made.infer(row(1))


def test_pace_finds_the_line() -> None:
    pace = LatencyModel()
    assert pace.predict(4) == 0
    for rows in (1, 8, 2, 16, 4, 8, 1):
        pace.learn(rows, 0.002 * rows + 0.01)
    assert pace.predict(12) == pytest.approx(0.034, rel=1e-3)
    pace.learn(8, 60.0)  # the machine slept
    assert pace.predict(12) < 0.1


def test_pace_of_one_size_only() -> None:
    pace = LatencyModel()
    for _ in range(10):
        pace.learn(4, 0.2)
    assert pace.predict(4) == pytest.approx(0.2)
    assert pace.predict(8) == pytest.approx(0.4)
    assert pace.predict(1) == pytest.approx(0.2), "a smaller batch is promised no less"


async def test_items_with_other_common_inputs_are_not_put_together() -> None:
    gate = threading.Event()

    def scaled(inputs: Arrays) -> Answer:
        assert gate.wait(20)
        return [inputs["x"] * inputs["factor"]]

    async with batcher(scaled) as made:
        factors = [1.0, 2.0, 1.0, 2.0, 3.0]
        tasks = [
            asyncio.create_task(made.infer(row(1.0), common={"factor": np.array([factor], np.float32)}))
            for factor in factors
        ]
        await asyncio.sleep(0.01)
        gate.set()
        answers = await asyncio.gather(*tasks)
    assert [float(answer[0][0, 0]) for answer in answers] == factors


async def test_a_deadline_is_answered_when_it_passes_while_the_batch_runs() -> None:
    model = Model()
    model.gate.clear()
    async with batcher(model) as made:
        began = asyncio.get_running_loop().time()
        with pytest.raises(GatewayTimeout):
            await made.infer(row(1.0), deadline_s=0.05)
        assert asyncio.get_running_loop().time() - began < 5, "the model computes for as long as its gate is closed"
        assert made.in_flight == 1
        model.gate.set()
        assert float((await made.infer(row(2.0)))[0][0, 0]) == 4
    assert model.interrupted[0], "nobody wanted it any more"


async def test_a_deadline_is_answered_when_it_passes_before_a_place_is_free() -> None:
    model = Model()
    model.gate.clear()
    async with batcher(model, rows=1) as made:
        busy = asyncio.create_task(made.infer(row(1.0)))
        await asyncio.to_thread(model.entered.acquire)
        with pytest.raises(GatewayTimeout):
            await made.infer(row(2.0), deadline_s=0.05)
        assert (made.waiting, made.counts.expired) == (0, 1)
        model.gate.set()
        await busy
    assert model.batches == [(1, 3)], "what had expired was not computed"
