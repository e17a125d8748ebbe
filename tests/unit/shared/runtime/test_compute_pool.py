"""A pool bounds what runs, what waits and what is in memory; nothing that goes wrong in it keeps its place."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shared.problems import ServiceUnavailable
from shared.runtime.compute_pool import ComputePool
from shared.telemetry.timing import collecting


class Computation:
    """Blocks its place until it is let go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> str:
        self.began.set()
        self.go_on.wait(timeout=10)  # a test that fails does not keep the process alive
        return "done"


async def occupy(pool: ComputePool) -> tuple[Computation, asyncio.Task[str]]:
    computation = Computation()
    task = asyncio.create_task(pool.run(computation))
    await asyncio.to_thread(computation.began.wait)
    return computation, task


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_answer_and_arguments_pass_through() -> None:
    assert await ComputePool(queue=1).run(divmod, 7, 2) == (3, 1)
    assert await ComputePool(queue=1).run(int, "ff", base=16) == 255


async def test_full_queue_is_refused_with_the_time_to_come_back() -> None:
    pool = ComputePool(queue=1)
    first, running = await occupy(pool)
    waiting = asyncio.create_task(pool.run(str, "second"))
    await settle()
    with pytest.raises(ServiceUnavailable) as refused:
        await pool.run(str, "third")
    assert int(refused.value.headers["Retry-After"]) >= 1
    first.go_on.set()
    assert await running == "done"
    assert await waiting == "second"
    assert await pool.run(str, "fourth") == "fourth"


async def test_burst_of_one_per_thread_and_place_is_served_whole() -> None:
    pool = ComputePool(threads=2, queue=3)
    assert await asyncio.gather(*(pool.run(str, i) for i in range(5))) == list("01234")


async def test_capacity_bounds_what_runs_at_a_time() -> None:
    pool, lock = ComputePool(threads=2, queue=20), threading.Lock()
    running, most = 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1

    await asyncio.gather(*(pool.run(work) for _ in range(12)))
    assert most == 2


async def test_first_come_first_served() -> None:
    pool = ComputePool(queue=5)
    order: list[str] = []
    first, running = await occupy(pool)
    waiting = []
    for name in "abcde":
        waiting.append(asyncio.create_task(pool.run(order.append, name)))
        await settle()
    first.go_on.set()
    await asyncio.gather(running, *waiting)
    assert "".join(order) == "abcde"


async def test_exception_passes_through_and_frees_the_thread() -> None:
    pool = ComputePool(queue=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await pool.run(divmod, 1, 0)
    assert await pool.run(str, "next") == "next"


async def test_cancelled_waiter_frees_its_place() -> None:
    pool = ComputePool(queue=1)
    first, running = await occupy(pool)
    for _ in range(3):
        waiting = asyncio.create_task(pool.run(str, "never"))
        await settle()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    last = asyncio.create_task(pool.run(str, "last"))
    await settle()
    first.go_on.set()
    assert await running == "done"
    assert await last == "last"


async def test_cancelled_computation_keeps_its_place_until_its_thread_is_done() -> None:
    pool = ComputePool(queue=1)
    first, running = await occupy(pool)
    running.cancel()
    second = asyncio.create_task(pool.run(str, "second"))
    await asyncio.sleep(0.1)  # long enough for a thread of its own, if it got one
    assert not second.done()
    running.cancel()
    await asyncio.sleep(0.1)
    assert not second.done()
    first.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await second == "second"


async def test_expected_wait_follows_the_computations_and_the_queue() -> None:
    pool = ComputePool(queue=2)
    before = pool.expected_wait_s
    for _ in range(20):
        await pool.run(str, "quick")
    assert pool.expected_wait_s < before / 10
    first, running = await occupy(pool)
    alone = pool.expected_wait_s
    waiting = asyncio.create_task(pool.run(str, "second"))
    await settle()
    assert pool.expected_wait_s == pytest.approx(2 * alone)
    first.go_on.set()
    await asyncio.gather(running, waiting)


async def test_waiting_is_a_phase_of_the_request() -> None:
    with collecting() as timings:
        await ComputePool(queue=1).run(str)
    assert timings.seconds["queue"] >= 0


async def test_what_is_admitted_never_costs_more_than_the_budget() -> None:
    pool, held, most = ComputePool(threads=4, queue=40, budget=10), 0, 0

    async def hold(cost: int) -> None:
        nonlocal held, most
        async with pool.admit(cost=cost) as admission:
            held += cost
            most = max(most, held)
            assert await admission.run(int, "7") == 7
            held -= cost

    await asyncio.gather(*(hold(cost) for cost in (4, 5, 3, 10, 1, 9, 2, 6) * 4))
    assert (held, most) == (0, 10)


async def test_what_costs_more_than_the_budget_is_alone() -> None:
    pool = ComputePool(threads=2, queue=4, budget=10)
    async with pool.admit(cost=5):
        entered = asyncio.Event()

        async def huge() -> None:
            async with pool.admit(cost=1000):
                entered.set()

        task = asyncio.create_task(huge())
        await settle()
        assert pool.waiting == 1
        assert not entered.is_set()
    await task
    assert entered.is_set()


async def test_small_ones_do_not_overtake_a_large_one_for_ever() -> None:
    pool, order = ComputePool(threads=2, queue=9, budget=10), []

    async def enter(name: str, cost: int) -> None:
        async with pool.admit(cost=cost):
            order.append(name)

    async with pool.admit(cost=6):
        tasks = [asyncio.create_task(enter(name, cost)) for name, cost in (("large", 10), ("small", 1))]
        await settle()
        assert order == []
    await asyncio.gather(*tasks)
    assert order == ["large", "small"]


async def test_who_waits_to_be_admitted_counts_for_the_queue_and_may_leave() -> None:
    pool = ComputePool(queue=1, budget=10)

    async def enter() -> None:
        async with pool.admit(cost=10):
            pass

    async with pool.admit(cost=10):
        waiting = asyncio.create_task(enter())
        await settle()
        with pytest.raises(ServiceUnavailable):
            await enter()
        waiting.cancel()
        await settle()
        assert pool.waiting == 0
    await enter()
