"""Many requests in one run of a model, without a timer.

A request that finds the model idle is computed at once, together with whatever arrived in the same turn of the event
loop; what arrives while a batch is computed makes the next one. So nobody waits for a batch to fill, and batches grow
by themselves as load does. Rows that do not stack (other shapes, other dtypes) go into batches of their own. How many
batches are computed at once is told in `shared.runtime.batching.executors`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from shared.http.disconnect import cancel_on_disconnect
from shared.problems import GatewayTimeout, ReducedCapacity, ServiceUnavailable
from shared.runtime.batching.concurrency_limit import ConcurrencyLimit
from shared.runtime.batching.counts import BatchCounts
from shared.runtime.batching.executors import BatchExecutors, Compute, compute_batch
from shared.runtime.batching.items import Answer, Arrays, Batch, BatchLimits, BatchReport, Done, Executor, Item, Waiter
from shared.runtime.batching.request_cache import RequestCache
from shared.telemetry.timing import count_batch

_QUICK_S = 0.001
_ALIKE = 8
"""Batches of one kind in a row, after which they are known."""


class Batcher:
    """Gathers items of one model into batches. Belongs to one event loop.

    Args:
        compute: runs the model on named arrays whose first axis is the batch; returns arrays with the same first axis.
            Called in a thread of its own, one batch at a time.
        limits: what it takes.
        observe: called on the event loop after each batch.
        single_threaded: the same with one thread, if it can be run so; may be called several times at once.
        lanes: how many times.
    """

    def __init__(
        self,
        compute: Compute,
        *,
        limits: BatchLimits | None = None,
        observe: Callable[[BatchReport], None] | None = None,
        single_threaded: Compute | None = None,
        lanes: int = 1,
    ) -> None:
        self.limits = limits or BatchLimits()
        self._observe = observe
        self._executors = BatchExecutors(compute, single_threaded=single_threaded, count=lanes)
        self._queue: deque[Item] = deque()
        self._known = RequestCache(coalesce=self.limits.coalesce, kept=self.limits.answers)
        self._admitted = ConcurrencyLimit(
            least=2 * self.limits.rows, most=self.limits.queue + self.limits.rows, tolerated_s=self.limits.tolerated_s
        )
        self.counts = BatchCounts()
        self._scheduled = self._closed = False
        self._usual: tuple[object, ...] = ()
        self._alike = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        """Items in the queue and in the batches under way."""
        return len(self._queue) + sum(len(batch.items) for batch in self._executors.running)

    @property
    def expected_wait_s(self) -> float:
        """Seconds until an item that came now would begin."""
        return self._executors.expected_s(sum(item.rows for item in self._queue), self.limits.rows)

    async def infer(
        self,
        inputs: Arrays,
        *,
        common: Arrays | None = None,
        deadline_s: float = math.inf,
        cost: float | None = None,
        stackable: bool = True,
    ) -> Answer:
        """The model's answer to some rows.

        Args:
            inputs: arrays by name, all with the same first axis.
            common: further inputs without that axis; only items with equal ones are put together.
            deadline_s: seconds after which the caller has no use for an answer any more.
            cost: towards `BatchLimits.cost`; the number of rows unless given.
            stackable: whether the first axis of every input and output is the batch; otherwise it is computed alone.

        Raises:
            ReducedCapacity: the queue is full.
            ServiceUnavailable: the deadline could not be met, or the batcher is closed.
            GatewayTimeout: the deadline passed while it waited or was computed; answered at that moment.
            ClientClosedRequest: the caller went away.
            Exception: whatever the model raised of these rows.
        """
        common = common or {}
        key = self._known.key({**inputs, **common})
        if (kept := self._known.kept(key)) is not None:
            self.counts.remembered += 1
            return kept
        self._require_room(deadline_s)
        item = self._enqueue(inputs, common, key, cost, stackable=stackable)
        arrived = time.perf_counter()
        waiter = Waiter(asyncio.get_running_loop().create_future(), arrived + deadline_s)
        item.waiters.append(waiter)
        timer = self._end_at_deadline(item, waiter, deadline_s)
        try:
            async with cancel_on_disconnect(on_leave=lambda: None):
                done = await waiter.future
        except BaseException:
            waiter.future.cancel()
            self._forget(item)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        began = max(arrived, done.began)  # an equal item may have been under way
        count_batch(arrived=arrived, began=began, ended=done.ended, rows=done.rows)
        return done.answer

    def _end_at_deadline(self, item: Item, waiter: Waiter, deadline_s: float) -> asyncio.TimerHandle | None:
        """Answer when the time is over, whether the item waits or is computed then; nobody has use for it any more."""
        if deadline_s == math.inf:
            return None

        def end() -> None:
            if not waiter.future.done():
                self.counts.expired += 1
                waiter.future.set_exception(GatewayTimeout("The time given for the answer passed before it was there."))
                self._forget(item)

        return asyncio.get_running_loop().call_later(deadline_s, end)

    async def idle(self) -> None:
        """Wait until nothing waits and nothing runs."""
        while self._queue or self._executors.running:
            self._idle.clear()
            await self._idle.wait()

    async def close(self) -> None:
        """Refuse what waits and what comes, and let the batches under way end."""
        self._closed = True
        while self._queue:
            self._fail(self._queue.popleft(), ServiceUnavailable("The model is being unloaded."))
        await asyncio.to_thread(self._executors.shut_down)
        await asyncio.sleep(0)  # the answers of the last batches are delivered on this loop

    def _require_room(self, deadline_s: float) -> None:
        if self._closed:
            raise ServiceUnavailable("The model is being unloaded.")
        wait = self.expected_wait_s
        if len(self._queue) >= self.limits.queue or self.in_flight >= self._admitted.value:
            full = len(self._queue) >= self.limits.queue
            self.counts.rejected["queue_full" if full else "adaptive_limit"] += 1
            raise ReducedCapacity(
                f"{len(self._queue)} requests wait for this model already.", retry_after_s=math.ceil(wait)
            )
        if wait > deadline_s:
            self.counts.rejected["deadline"] += 1
            detail = f"The answer would begin in about {wait:.1f} s, later than the {deadline_s:g} s it was given."
            raise ServiceUnavailable(detail, retry_after_s=math.ceil(wait))

    def _enqueue(
        self, inputs: Arrays, common: Arrays, key: bytes | None, cost: float | None, *, stackable: bool
    ) -> Item:
        if (same := self._known.under_way(key)) is not None:
            self.counts.coalesced += 1
            return same
        rows = len(next(iter(inputs.values()))) if stackable else 1
        signature: tuple[object, ...] = tuple(
            (name, array.dtype.str, array.shape[1:]) for name, array in inputs.items()
        )
        signature += tuple((name, array.dtype.str, array.shape, array.tobytes()) for name, array in common.items())
        if not stackable:
            signature = (object(),)
        item = Item(inputs, common, rows, rows if cost is None else cost, signature, key, time.perf_counter())
        self._queue.append(item)
        self._known.begin(item)
        self._wake()
        return item

    def _wake(self) -> None:
        """Begin a batch in the next turn of the loop: what arrives in this one is part of it."""
        if self._queue and self._executors.free and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._scheduled = False
        while self._queue and (way := self._executors.way(len(self._queue))) is not None:
            items = self._take(way)
            if items and self._done_at_once(Batch(items, way, time.perf_counter())):
                break  # others get their turn of the loop; it has been woken for what is left
        self._tell_if_idle()

    def _tell_if_idle(self) -> None:
        if not self._queue and not self._executors.running:
            self._idle.set()

    def _done_at_once(self, batch: Batch) -> bool:
        """Begin a batch; a quick one is done when this returns."""
        self._executors.running.append(batch)
        if self._is_quick(batch):
            self._finish(batch, *compute_batch(batch))
            return True
        loop = asyncio.get_running_loop()
        self._executors.submit(lambda: loop.call_soon_threadsafe(self._finish, batch, *compute_batch(batch)))
        return False

    def _is_quick(self, batch: Batch) -> bool:
        """Whether the batch takes less than handing it to another thread is worth.

        Known of batches like those before it only: one of other shapes may take any time, and nothing else would be
        done by this process meanwhile.
        """
        signature = batch.items[0].signature
        known = signature == self._usual
        self._alike = self._alike + 1 if known else 0
        self._usual = signature
        return self._alike >= _ALIKE and batch.way.pace.predict(batch.rows) < _QUICK_S

    def _most_rows(self, way: Executor) -> int:
        """Of the next batch: no more than pays, and than is fair where further batches may begin beside it."""
        most, lanes = way.pace.best_batch_size(self.limits.rows), self._executors.free
        if lanes == 1:
            return most
        return min(most, math.ceil(sum(item.rows for item in self._queue) / lanes))

    def _take(self, way: Executor) -> list[Item]:
        """The next batch: from the oldest item on, those that stack with it and fit."""
        items: list[Item] = []
        left: deque[Item] = deque()
        rows, cost, now = 0, 0.0, time.perf_counter()
        most = self._most_rows(way)
        while self._queue:
            item = self._queue.popleft()
            if not item.wanted:
                self._known.end(item)
            elif item.deadline < now:
                self.counts.expired += len(item.waiters)
                self._fail(item, GatewayTimeout("The time given for the answer passed before it was begun."))
            elif not items or (
                item.signature == items[0].signature
                and rows + item.rows <= most
                and cost + item.cost <= self.limits.cost
            ):
                items.append(item)
                rows, cost = rows + item.rows, cost + item.cost
            else:
                left.append(item)
        self._queue = left
        return items

    def _finish(self, batch: Batch, outcomes: Sequence[Answer | Exception], began: float, ended: float) -> None:
        in_flight = self.in_flight
        self._executors.running.remove(batch)
        batch.way.pace.learn(batch.rows, ended - began)
        self._admitted.learn(time.perf_counter() - batch.items[0].arrived, in_flight=in_flight)
        for item, outcome in zip(batch.items, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._fail(item, outcome)
                continue
            self._known.end(item)
            self._known.keep(item, outcome)
            done = Done(outcome, began, ended, batch.rows)
            for waiter in item.waiters:
                if not waiter.future.done():
                    waiter.future.set_result(done)
        self._wake()
        self._tell_if_idle()
        if self._observe is not None:
            self._observe(BatchReport(len(batch.items), batch.rows, ended - began, len(self._queue)))

    def _fail(self, item: Item, error: Exception) -> None:
        self._known.end(item)
        for waiter in item.waiters:
            if not waiter.future.done():
                waiter.future.set_exception(error)

    def _forget(self, item: Item) -> None:
        """One who waited for it left: nobody else may want it."""
        if item.wanted:
            return
        self._known.end(item)
        if item in self._queue:
            self._queue.remove(item)
            return
        for batch in self._executors.running:
            if not any(one.wanted for one in batch.items):
                batch.interruption.interrupt()
