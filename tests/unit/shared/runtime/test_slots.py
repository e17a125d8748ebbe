"""Slots bound what runs and what waits; nothing that goes wrong in one keeps its place."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shared.problems import ServiceUnavailable
from shared.runtime.slots import Slots
from shared.telemetry.timing import collecting


class Computation:
    """Blocks its slot until it is let go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> str:
        self.began.set()
        self.go_on.wait(timeout=10)  # a test that fails does not keep the process alive
        return "done"


async def occupy(slots: Slots) -> tuple[Computation, asyncio.Task[str]]:
    computation = Computation()
    task = asyncio.create_task(slots.run(computation))
    await asyncio.to_thread(computation.began.wait)
    return computation, task


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_answer_and_arguments_pass_through() -> None:
    assert await Slots(queue=1).run(divmod, 7, 2) == (3, 1)
    assert await Slots(queue=1).run(int, "ff", base=16) == 255


async def test_full_queue_is_refused_with_the_time_to_come_back() -> None:
    slots = Slots(queue=1)
    first, running = await occupy(slots)
    waiting = asyncio.create_task(slots.run(str, "second"))
    await settle()
    with pytest.raises(ServiceUnavailable) as refused:
        await slots.run(str, "third")
    assert int(refused.value.headers["Retry-After"]) >= 1
    first.go_on.set()
    assert await running == "done"
    assert await waiting == "second"
    assert await slots.run(str, "fourth") == "fourth"


async def test_burst_of_one_per_slot_and_place_is_served_whole() -> None:
    slots = Slots(capacity=2, queue=3)
    assert await asyncio.gather(*(slots.run(str, i) for i in range(5))) == list("01234")


async def test_capacity_bounds_what_runs_at_a_time() -> None:
    slots, lock = Slots(capacity=2, queue=20), threading.Lock()
    running, most = 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1

    await asyncio.gather(*(slots.run(work) for _ in range(12)))
    assert most == 2


async def test_first_come_first_served() -> None:
    slots = Slots(queue=5)
    order: list[str] = []
    first, running = await occupy(slots)
    waiting = []
    for name in "abcde":
        waiting.append(asyncio.create_task(slots.run(order.append, name)))
        await settle()
    first.go_on.set()
    await asyncio.gather(running, *waiting)
    assert "".join(order) == "abcde"


async def test_exception_passes_through_and_frees_the_slot() -> None:
    slots = Slots(queue=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await slots.run(divmod, 1, 0)
    assert await slots.run(str, "next") == "next"


async def test_cancelled_waiter_frees_its_place() -> None:
    slots = Slots(queue=1)
    first, running = await occupy(slots)
    for _ in range(3):
        waiting = asyncio.create_task(slots.run(str, "never"))
        await settle()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    last = asyncio.create_task(slots.run(str, "last"))
    await settle()
    first.go_on.set()
    assert await running == "done"
    assert await last == "last"


async def test_cancelled_computation_keeps_its_slot_until_its_thread_is_done() -> None:
    slots = Slots(queue=1)
    first, running = await occupy(slots)
    running.cancel()
    second = asyncio.create_task(slots.run(str, "second"))
    await asyncio.sleep(0.1)  # long enough for a thread of its own, if it got the slot
    assert not second.done()
    running.cancel()
    await asyncio.sleep(0.1)
    assert not second.done()
    first.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await second == "second"


async def test_expected_wait_follows_the_computations_and_the_queue() -> None:
    slots = Slots(queue=2)
    before = slots.expected_wait_s
    for _ in range(20):
        await slots.run(str, "quick")
    assert slots.expected_wait_s < before / 10
    first, running = await occupy(slots)
    alone = slots.expected_wait_s
    waiting = asyncio.create_task(slots.run(str, "second"))
    await settle()
    assert slots.expected_wait_s == pytest.approx(2 * alone)
    first.go_on.set()
    await asyncio.gather(running, waiting)


async def test_waiting_is_a_phase_of_the_request() -> None:
    with collecting() as timings:
        await Slots(queue=1).run(str)
    assert timings.seconds["queue"] >= 0
