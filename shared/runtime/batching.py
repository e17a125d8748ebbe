"""Many requests in one run of a model, without a timer.

A request that finds the model idle is computed at once, together with whatever arrived in the same turn of the event
loop; what arrives while a batch is computed makes the next one. So nobody waits for a batch to fill, and batches grow
by themselves as load does. Rows that do not stack (other shapes, other dtypes) go into batches of their own.

If a batch raises, its items are computed one by one, so that a bad one spoils no other's answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.http.presence import while_present
from shared.problems import GatewayTimeout, ServiceUnavailable
from shared.runtime.interruption import Interrupted, Interruption, interruptible
from shared.runtime.pace import Pace
from shared.telemetry.timing import count_phase

Arrays = Mapping[str, NDArray[Any]]
Answer = Sequence[NDArray[Any]]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a batcher takes.

    Attributes:
        rows: most rows of a batch; an item that has more is computed alone.
        queue: most items that wait; beyond it, callers are refused with the time after which to try again.
        cost: most cost of a batch, where items say what they cost (pixels, steps).
        coalesce: whether equal items that are under way at the same time are computed once.
        answers: how many answers are kept for equal items that come later; 0 keeps none.
    """

    rows: int = 16
    queue: int = 256
    cost: float = math.inf
    coalesce: bool = False
    answers: int = 0


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a batch was, for metrics.

    Attributes:
        items: how many requests it answered.
        rows: how many rows they had.
        queue_s: seconds that each item waited.
        infer_s: seconds that the model ran.
        waiting: items left in the queue when it began.
    """

    items: int
    rows: int
    queue_s: tuple[float, ...]
    infer_s: float
    waiting: int


@dataclass(slots=True, eq=False)
class _Waiter:
    future: asyncio.Future[_Done]
    deadline: float


@dataclass(slots=True, eq=False)
class _Item:
    inputs: Arrays
    rows: int
    cost: float
    signature: tuple[object, ...]
    key: bytes | None
    arrived: float
    waiters: list[_Waiter] = field(default_factory=list)

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return any(not waiter.future.done() for waiter in self.waiters)

    @property
    def deadline(self) -> float:
        """When the last of those who wait gives up."""
        return max(waiter.deadline for waiter in self.waiters)


@dataclass(frozen=True, slots=True)
class _Done:
    answer: Answer
    queue_s: float
    infer_s: float


@dataclass(slots=True, eq=False)
class _Batch:
    items: list[_Item]
    began: float
    interruption: Interruption = field(default_factory=Interruption)

    @property
    def rows(self) -> int:
        return sum(item.rows for item in self.items)


class Batcher:
    """Gathers items of one model into batches. Belongs to one event loop.

    Args:
        compute: runs the model on named arrays whose first axis is the batch; returns arrays with the same first axis.
            Called in a thread of its own, one batch at a time.
        limits: what it takes.
        observe: called on the event loop after each batch.
    """

    def __init__(
        self,
        compute: Callable[[Arrays], Answer],
        *,
        limits: BatchLimits | None = None,
        observe: Callable[[BatchReport], None] | None = None,
    ) -> None:
        self.limits = limits or BatchLimits()
        self._compute, self._observe = compute, observe
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batcher")
        self._queue: deque[_Item] = deque()
        self._under_way: dict[bytes, _Item] = {}
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._running: _Batch | None = None
        self._pace = Pace()
        self._scheduled = self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return len(self._queue)

    @property
    def expected_wait_s(self) -> float:
        """Seconds until an item that came now would begin."""
        full, rest = divmod(sum(item.rows for item in self._queue), self.limits.rows)
        ahead = full * self._pace.predict(self.limits.rows) + self._pace.predict(rest)
        if self._running is not None:
            elapsed = time.monotonic() - self._running.began
            ahead += max(0.0, self._pace.predict(self._running.rows) - elapsed)
        return ahead

    async def infer(
        self, inputs: Arrays, *, deadline_s: float = math.inf, cost: float | None = None, stackable: bool = True
    ) -> Answer:
        """The model's answer to some rows.

        Args:
            inputs: arrays by name, all with the same first axis.
            deadline_s: seconds after which the caller has no use for an answer any more.
            cost: towards `BatchLimits.cost`; the number of rows unless given.
            stackable: whether the first axis of every input and output is the batch; otherwise it is computed alone.

        Raises:
            ServiceUnavailable: the queue is full, the deadline could not be met, or the batcher is closed.
            GatewayTimeout: the deadline passed while it waited.
            CallerGone: the caller went away.
            Exception: whatever the model raised of these rows.
        """
        key = self._key(inputs)
        if key is not None and key in self._answers:
            self._answers.move_to_end(key)
            return self._answers[key]
        self._require_room(deadline_s)
        item = self._enqueue(inputs, key, cost, stackable=stackable)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), time.monotonic() + deadline_s)
        item.waiters.append(waiter)
        try:
            async with while_present(on_leave=lambda: None):
                done = await waiter.future
        except BaseException:
            waiter.future.cancel()
            self._forget(item)
            raise
        count_phase("queue", done.queue_s)
        count_phase("infer", done.infer_s)
        return done.answer

    async def idle(self) -> None:
        """Wait until nothing waits and nothing runs."""
        while self._queue or self._running is not None:
            self._idle.clear()
            await self._idle.wait()

    async def close(self) -> None:
        """Refuse what waits and what comes, and let the batch under way end."""
        self._closed = True
        while self._queue:
            self._fail(self._queue.popleft(), ServiceUnavailable("The model is being unloaded."))
        await asyncio.to_thread(self._thread.shutdown)
        await asyncio.sleep(0)  # the answers of the last batch are delivered on this loop

    def _require_room(self, deadline_s: float) -> None:
        if self._closed:
            raise ServiceUnavailable("The model is being unloaded.")
        wait = self.expected_wait_s
        if len(self._queue) >= self.limits.queue:
            raise ServiceUnavailable(
                f"{len(self._queue)} requests wait for this model already.", retry_after_s=math.ceil(wait)
            )
        if wait > deadline_s:
            detail = f"The answer would begin in about {wait:.1f} s, later than the {deadline_s:g} s it was given."
            raise ServiceUnavailable(detail, retry_after_s=math.ceil(wait))

    def _enqueue(self, inputs: Arrays, key: bytes | None, cost: float | None, *, stackable: bool) -> _Item:
        if key is not None and self.limits.coalesce and key in self._under_way:
            return self._under_way[key]
        rows = len(next(iter(inputs.values()))) if stackable else 1
        signature: tuple[object, ...] = tuple(
            (name, array.dtype.str, array.shape[1:]) for name, array in inputs.items()
        )
        if not stackable:
            signature = (object(),)
        item = _Item(inputs, rows, rows if cost is None else cost, signature, key, time.monotonic())
        self._queue.append(item)
        if key is not None:
            self._under_way[key] = item
        self._wake()
        return item

    def _key(self, inputs: Arrays) -> bytes | None:
        if not self.limits.coalesce and not self.limits.answers:
            return None
        digest = hashlib.blake2b(digest_size=16)
        for name, array in inputs.items():
            digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.digest()

    def _wake(self) -> None:
        """Begin a batch in the next turn of the loop: what arrives in this one is part of it."""
        if self._queue and self._running is None and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._scheduled = False
        items = self._take()
        if not items:
            self._idle.set()
            return
        self._running = batch = _Batch(items, time.monotonic())
        loop = asyncio.get_running_loop()

        def work() -> None:
            began = time.perf_counter()
            outcomes = list(self._outcomes(batch))
            seconds = time.perf_counter() - began
            loop.call_soon_threadsafe(self._finish, batch, outcomes, seconds)

        self._thread.submit(work)

    def _take(self) -> list[_Item]:
        """The next batch: from the oldest item on, those that stack with it and fit."""
        items: list[_Item] = []
        left: deque[_Item] = deque()
        rows, cost, now = 0, 0.0, time.monotonic()
        while self._queue:
            item = self._queue.popleft()
            if not item.wanted:
                self._drop(item)
            elif item.deadline < now:
                self._fail(item, GatewayTimeout("The time given for the answer passed before it was begun."))
            elif not items or (
                item.signature == items[0].signature
                and rows + item.rows <= self.limits.rows
                and cost + item.cost <= self.limits.cost
            ):
                items.append(item)
                rows, cost = rows + item.rows, cost + item.cost
            else:
                left.append(item)
        self._queue = left
        return items

    def _outcomes(self, batch: _Batch) -> Iterator[Answer | Exception]:
        """In the thread: the answer or the error of each item."""
        with interruptible(batch.interruption):
            try:
                yield from self._answers_of(batch.items)
            except Exception as error:
                if len(batch.items) == 1 or isinstance(error, Interrupted):
                    yield from [error] * len(batch.items)
                    return
                for item in batch.items:
                    try:
                        yield self._compute(item.inputs)
                    except Exception as own:  # whatever the model raises is the answer to whoever asked
                        yield own

    def _answers_of(self, items: Sequence[_Item]) -> list[Answer]:
        if len(items) == 1:
            return [self._compute(items[0].inputs)]
        names = items[0].inputs
        outputs = self._compute({name: np.concatenate([item.inputs[name] for item in items]) for name in names})
        ends = np.cumsum([item.rows for item in items]).tolist()
        return [[output[end - item.rows : end] for output in outputs] for item, end in zip(items, ends, strict=True)]

    def _finish(self, batch: _Batch, outcomes: Sequence[Answer | Exception], seconds: float) -> None:
        self._running = None
        self._pace.learn(batch.rows, seconds)
        for item, outcome in zip(batch.items, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._fail(item, outcome)
                continue
            self._drop(item)
            if item.key is not None and self.limits.answers:
                self._keep(item.key, outcome)
            done = _Done(outcome, batch.began - item.arrived, seconds)
            for waiter in item.waiters:
                if not waiter.future.done():
                    waiter.future.set_result(done)
        self._wake()
        if not self._queue:
            self._idle.set()
        if self._observe is not None:
            queued = tuple(batch.began - item.arrived for item in batch.items)
            self._observe(BatchReport(len(batch.items), batch.rows, queued, seconds, len(self._queue)))

    def _keep(self, key: bytes, answer: Answer) -> None:
        for array in answer:
            array.flags.writeable = False
        self._answers[key] = answer
        while len(self._answers) > self.limits.answers:
            self._answers.popitem(last=False)

    def _fail(self, item: _Item, error: Exception) -> None:
        self._drop(item)
        for waiter in item.waiters:
            if not waiter.future.done():
                waiter.future.set_exception(error)

    def _forget(self, item: _Item) -> None:
        """One who waited for it left: nobody else may want it."""
        if item.wanted:
            return
        self._drop(item)
        if item in self._queue:
            self._queue.remove(item)
        elif self._running is not None and not any(one.wanted for one in self._running.items):
            self._running.interruption.interrupt()

    def _drop(self, item: _Item) -> None:
        if item.key is not None and self._under_way.get(item.key) is item:
            del self._under_way[item.key]
