"""A bounded number of computations at a time, with a bounded queue before them.

Beyond the queue a request is refused at once with 503 and a Retry-After computed from how long the
computations have taken lately, which beats letting it wait for longer than its caller will. A caller that goes away
leaves the queue at once; if its computation runs already, that is stopped at the next node of the model's graph.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from shared.http.presence import CallerGone, while_present
from shared.problems import ServiceUnavailable
from shared.runtime.interruption import Interrupted, Interruption, interruptible
from shared.telemetry.timing import timed

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

_WEIGHT_OF_NEWEST = 0.2


class Slots:
    """Runs blocking functions in threads, `capacity` at a time.

    Args:
        capacity: computations at a time.
        queue: requests that may wait for a slot.

    Attributes:
        rejected: requests that found the queue full.
    """

    def __init__(self, *, capacity: int = 1, queue: int) -> None:
        self._limiter = anyio.CapacityLimiter(capacity)
        self._capacity = capacity
        self._queue = queue
        self._seconds = 1.0
        self.rejected = 0

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot now."""
        return self._limiter.statistics().tasks_waiting

    @property
    def expected_wait_s(self) -> float:
        """Seconds until a newcomer would get a slot, from the recent mean duration."""
        return self._seconds * (self.waiting + 1) / self._capacity

    async def run(
        self, function: Callable[Arguments, Answer], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Answer:
        """Wait for a slot, run the function in a thread and return its answer.

        Time spent waiting counts as phase `queue`.

        Raises:
            ServiceUnavailable: the queue is full.
            CallerGone: the caller went away while it waited or its function ran.
        """
        if self.waiting >= self._queue:
            self.rejected += 1
            wait = math.ceil(self.expected_wait_s)
            raise ServiceUnavailable(
                f"{self.waiting} requests wait already. Try again in about {wait} s, or send "
                "Prefer: respond-async where the route makes jobs.",
                retry_after_s=wait,
            )
        interruption = Interruption()
        async with while_present(on_leave=interruption.interrupt):
            with timed("queue"):
                await self._limiter.acquire()
            try:
                with interruptible(interruption):
                    return await self._compute(partial(function, *arguments, **named))
            finally:
                self._limiter.release()

    async def _compute(self, function: Callable[[], Answer]) -> Answer:
        """Run in a thread that has the context of the request."""
        began = time.perf_counter()
        try:
            answer = await _outlasting_cancellation(function)
        except Interrupted:
            raise CallerGone("The caller went away while its answer was computed.") from None
        self._learn(time.perf_counter() - began)
        return answer

    def _learn(self, seconds: float) -> None:
        self._seconds += _WEIGHT_OF_NEWEST * (seconds - self._seconds)


async def _outlasting_cancellation(function: Callable[[], Answer]) -> Answer:
    """Run in a thread; a cancel takes effect when the thread is done, as it holds its slot until then.

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
