"""One batch with all threads, or several with one each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from shared.problems import ReducedCapacity
from shared.runtime.batching.batcher import Batcher
from shared.runtime.batching.items import Answer, Arrays, BatchLimits
from tests.support.cancellation import is_interrupted

PATIENCE_S = 20


class Model:
    """Doubles its input; each run waits until it is let go; knows how many rows are in which kind of run."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: list[tuple[str, int]] = []
        self.inside, self.most_inside = 0, 0
        self.entered, self.leave = threading.Semaphore(0), threading.Semaphore(0)

    def multi_threaded(self, inputs: Arrays) -> Answer:
        return self._run("multi_threaded", inputs)

    def single_threaded(self, inputs: Arrays) -> Answer:
        return self._run("single_threaded", inputs)

    def _run(self, kind: str, inputs: Arrays) -> Answer:
        with self.lock:
            self.runs.append((kind, len(inputs["x"])))
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        self.entered.release()
        assert self.leave.acquire(timeout=PATIENCE_S)
        with self.lock:
            self.inside -= 1
        if np.isnan(inputs["x"]).any():
            raise ValueError("not a number")
        return [2 * inputs["x"]]

    async def has_begun(self, runs: int) -> None:
        for _ in range(runs):
            assert await asyncio.to_thread(self.entered.acquire, timeout=PATIENCE_S)

    def let_go(self, runs: int) -> None:
        for _ in range(runs):
            self.leave.release()


@asynccontextmanager
async def batcher(model: Model, *, lanes: int = 2, **limits: Any) -> AsyncIterator[Batcher]:
    made = Batcher(
        model.multi_threaded, single_threaded=model.single_threaded, lanes=lanes, limits=BatchLimits(**limits)
    )
    yield made
    await made.close()


def ask(made: Batcher, value: float, rows: int = 1) -> asyncio.Task[Answer]:
    return asyncio.create_task(made.infer({"x": np.full((rows, 2), value, np.float32)}))


async def test_a_request_alone_gets_all_threads() -> None:
    model = Model()
    async with batcher(model) as made:
        model.let_go(2)
        await ask(made, 1)
        await ask(made, 2)
    assert model.runs == [("multi_threaded", 1), ("multi_threaded", 1)]


async def test_requests_that_wait_are_computed_beside_each_other() -> None:
    model = Model()
    async with batcher(model) as made:
        first = ask(made, 0)
        await model.has_begun(1)
        rest = [ask(made, value) for value in range(1, 7)]
        await asyncio.sleep(0.02)
        assert model.inside == 1, "the first one has all threads"
        model.let_go(1)
        await model.has_begun(2)
        assert model.inside == 2
        model.let_go(20)
        answers = await asyncio.gather(first, *rest)
    assert model.runs[0] == ("multi_threaded", 1)
    assert {kind for kind, _ in model.runs[1:]} == {"single_threaded"}
    assert sum(rows for _, rows in model.runs) == 7
    assert model.most_inside == 2
    for value, (answer,) in enumerate(answers):
        np.testing.assert_array_equal(answer, 2 * value)


async def test_what_arrives_together_is_shared_out_evenly() -> None:
    model = Model()
    async with batcher(model) as made:
        tasks = [ask(made, value) for value in range(6)]
        await model.has_begun(2)
        assert model.runs == [("single_threaded", 3), ("single_threaded", 3)]
        model.let_go(2)
        await asyncio.gather(*tasks)


async def test_a_lane_that_is_free_takes_what_comes_while_another_computes() -> None:
    model = Model()
    async with batcher(model) as made:
        both = [ask(made, value) for value in range(2)]
        await model.has_begun(2)
        third = ask(made, 2)
        await asyncio.sleep(0.02)
        assert model.inside == 2
        model.let_go(1)
        await model.has_begun(1)
        assert (model.inside, model.runs[-1]) == (2, ("single_threaded", 1))
        model.let_go(2)
        await asyncio.gather(*both, third)


async def test_a_bad_item_spoils_nothing_in_its_lane_or_beside_it() -> None:
    model = Model()
    model.let_go(20)
    async with batcher(model) as made:
        tasks = [ask(made, np.nan if value == 3 else value) for value in range(8)]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [index for index, answer in enumerate(answers) if isinstance(answer, ValueError)] == [3]
    assert sum(isinstance(answer, list) for answer in answers) == 7


async def test_those_who_leave_stop_their_own_run_only() -> None:
    model = Model()
    async with batcher(model) as made:
        both = [ask(made, value) for value in range(2)]
        await model.has_begun(2)
        batches = list(made._executors.running)
        both[0].cancel()
        async with asyncio.timeout(PATIENCE_S):
            while not is_interrupted(batches[0].interruption):  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert not is_interrupted(batches[1].interruption)
        model.let_go(2)
        np.testing.assert_array_equal((await both[1])[0], 2)


async def test_closing_waits_for_all_lanes() -> None:
    model = Model()
    made = Batcher(model.multi_threaded, single_threaded=model.single_threaded, lanes=2)
    both = [ask(made, value) for value in range(2)]
    await model.has_begun(2)
    asyncio.get_running_loop().call_later(0.05, model.let_go, 2)
    await made.close()
    assert model.inside == 0, "both have come to their end"
    for value, (answer,) in enumerate(await asyncio.gather(*both)):
        np.testing.assert_array_equal(answer, 2 * value)


async def test_the_wait_that_is_told_counts_all_lanes() -> None:
    model = Model()
    async with batcher(model, rows=1, queue=6) as made:
        assert made._executors.single_threaded is not None
        for _ in range(3):
            made._executors.single_threaded.pace.learn(1, 10.0)
        both = [ask(made, value) for value in range(2)]
        await model.has_begun(2)
        rest = [ask(made, value) for value in range(5)]
        await asyncio.sleep(0)
        assert made.expected_wait_s == pytest.approx(5 * 10.0 / 2 + 10.0, abs=0.5)
        with pytest.raises(ReducedCapacity) as refused:
            await made.infer({"x": np.ones((1, 2), np.float32)})
        assert 34 <= int(refused.value.headers["Retry-After"]) <= 35
        model.let_go(7)
        await asyncio.gather(*both, *rest)


async def test_a_slow_model_has_all_threads_for_whoever_came_first() -> None:
    model = Model()
    model.let_go(20)
    async with batcher(model, rows=1) as made:
        made._executors.multi_threaded.pace.learn(1, 5.0)
        await asyncio.gather(*(ask(made, value) for value in range(4)))
    assert model.runs == [("multi_threaded", 1)] * 4
