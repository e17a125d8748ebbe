"""Threads for what is no run of a model: decoding, numerics, encoding. Bounded in number, queue and memory.

A request that wants several of these steps is admitted once, with the memory that it will take, and runs each of them
in a thread; between them it may await a batcher on the event loop. Beyond the queue a request is refused at once with
503 and a Retry-After computed from how long computations have taken lately, which beats letting it wait for longer than
its caller will. A caller that goes away leaves the queue at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from shared.http.disconnect import ClientClosedRequest, cancel_on_disconnect
from shared.problems import ServiceUnavailable
from shared.runtime.cancellation import CancellationToken, Interrupted, interruptible
from shared.telemetry.timing import timed

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

_WEIGHT_OF_NEWEST = 0.2


class CostBudget:
    """A semaphore that counts costs: first come first served, and what costs more than there is runs alone.

    Args:
        limit: most cost at a time.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._used = 0.0
        self._holders = 0
        self._queue: deque[tuple[float, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    async def acquire(self, cost: float) -> None:
        """Wait until so much is free."""
        if not self._queue and self._fits(cost):
            self._take(cost)
            return
        turn = cost, asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn[1]
        except BaseException:
            if turn in self._queue:
                self._queue.remove(turn)
                self._wake()
            else:
                self.release(cost)
            raise

    def release(self, cost: float) -> None:
        """Give back what was acquired."""
        self._holders -= 1
        self._used = self._used - cost if self._holders else 0.0
        self._wake()

    def _fits(self, cost: float) -> bool:
        return not self._holders or self._used + cost <= self._limit

    def _take(self, cost: float) -> None:
        self._holders += 1
        self._used += cost

    def _wake(self) -> None:
        while self._queue and (self._queue[0][1].done() or self._fits(self._queue[0][0])):
            cost, turn = self._queue.popleft()
            if not turn.done():
                self._take(cost)
                turn.set_result(None)


class ComputePool:
    """Runs blocking functions in threads, `threads` at a time.

    Args:
        threads: computations at a time.
        queue: requests that may wait.
        budget: most cost of the requests that are admitted at a time, in whatever unit `admit` is told; pixels, say.

    Attributes:
        rejected: requests that found the queue full.
    """

    def __init__(self, *, threads: int = 1, queue: int, budget: float = math.inf) -> None:
        self._limiter = anyio.CapacityLimiter(threads)
        self._budget = CostBudget(budget)
        self._threads = threads
        self._queue = queue
        self._seconds = 1.0
        self.rejected = 0

    @property
    def waiting(self) -> int:
        """Requests that wait now, to be admitted or for a thread."""
        return self._budget.waiting + self._limiter.statistics().tasks_waiting

    @property
    def expected_wait_s(self) -> float:
        """Seconds until a newcomer would get a thread, from the recent mean duration."""
        return self._seconds * (self.waiting + 1) / self._threads

    @asynccontextmanager
    async def admit(self, *, cost: float = 0.0) -> AsyncIterator[Admission]:
        """Wait until the request fits beside those that are admitted; it counts until the block is left.

        Args:
            cost: what it holds in memory meanwhile, in the unit of the budget; without any, only threads are waited
                for.

        Raises:
            ServiceUnavailable: the queue is full.
            ClientClosedRequest: the caller went away while it waited.
        """
        self._require_place()
        if cost <= 0:
            yield Admission(self)
            return
        async with cancel_on_disconnect():
            with timed("queue"):
                await self._budget.acquire(cost)
        try:
            yield Admission(self)
        finally:
            self._budget.release(cost)

    async def run(
        self, function: Callable[Arguments, Answer], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Answer:
        """Run one function for a request that needs no more than that; see `admit` and `Admission.run`."""
        async with self.admit() as admission:
            return await admission.run(function, *arguments, **named)

    def _require_place(self) -> None:
        if self.waiting < self._queue:
            return
        self.rejected += 1
        wait = math.ceil(self.expected_wait_s)
        raise ServiceUnavailable(
            f"{self.waiting} requests wait already. Try again in about {wait} s, or send "
            "Prefer: respond-async where the route makes jobs.",
            retry_after_s=wait,
        )

    async def compute(self, function: Callable[[], Answer]) -> Answer:
        """Wait for a thread and run in it, with the context of the request, whatever the queue."""
        interruption = CancellationToken()
        async with cancel_on_disconnect(on_leave=interruption.interrupt):
            with timed("queue"):
                await self._limiter.acquire()
            try:
                with interruptible(interruption):
                    return await self._timed(function)
            finally:
                self._limiter.release()

    async def _timed(self, function: Callable[[], Answer]) -> Answer:
        began = time.perf_counter()
        try:
            answer = await _outlasting_cancellation(function)
        except Interrupted:
            raise ClientClosedRequest("The caller went away while its answer was computed.") from None
        self._seconds += _WEIGHT_OF_NEWEST * (time.perf_counter() - began - self._seconds)
        return answer


class Admission:
    """The right of one request to the pool's threads."""

    def __init__(self, pool: ComputePool) -> None:
        self._pool = pool

    async def run(
        self, function: Callable[Arguments, Answer], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Answer:
        """Wait for a thread, run the function in it and return its answer.

        Time spent waiting counts as phase `queue`.

        Raises:
            ClientClosedRequest: the caller went away while it waited or its function ran.
        """
        return await self._pool.compute(partial(function, *arguments, **named))


async def _outlasting_cancellation(function: Callable[[], Answer]) -> Answer:
    """Run in a thread; a cancel takes effect when the thread is done, as it holds its place until then.

    A shielded scope alone holds off anyio's cancellations but not `Task.cancel`.
    """
    work = asyncio.create_task(anyio.to_thread.run_sync(function))
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
    return work.result()
