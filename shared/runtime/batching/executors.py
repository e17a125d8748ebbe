"""How many batches of a model are computed at once, and with how many threads each.

One request alone is computed with all threads, for the soonest answer. Where several wait, each thread computes a batch
of its own: the same arithmetic, but no thread waits for the others at the end of each layer, which costs most where the
cores have other work as well (a web server, say).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from shared.runtime.batching.items import Answer, Arrays, Batch, Executor, Item
from shared.runtime.cancellation import Interrupted, interruptible

_LONGEST_ROW_S = 0.1
"""Of a row with all threads; where it takes longer, whoever comes first is answered first, with all threads."""

Compute = Callable[[Arrays], Answer]


class BatchExecutors:
    """The batches under way of one model, and the threads that compute them. Belongs to one event loop.

    Args:
        compute: runs the model with all its threads.
        single_threaded: runs it with one, if there is a session for that.
        count: how many of those may run at once.

    Attributes:
        multi_threaded: all threads on one batch.
        single_threaded: one thread on each of several, where the model can be run so.
        running: the batches under way.
    """

    def __init__(self, compute: Compute, *, single_threaded: Compute | None = None, count: int = 1) -> None:
        self.multi_threaded = Executor(compute)
        self.single_threaded = Executor(single_threaded) if single_threaded is not None and count > 1 else None
        self.count = count if self.single_threaded is not None else 1
        self.running: list[Batch] = []
        self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="batcher")

    @property
    def free(self) -> int:
        """Batches that may begin beside those under way."""
        if any(batch.way is self.multi_threaded for batch in self.running):
            return 0
        return self.count - len(self.running)

    def way(self, waiting: int) -> Executor | None:
        """How the next batch is to be computed; None while it has to wait.

        Args:
            waiting: requests that it may be made of.
        """
        if not self.free:
            return None
        if (
            self.single_threaded is not None
            and (self.running or waiting > 1)
            and self.multi_threaded.pace.predict(1) <= _LONGEST_ROW_S
        ):
            return self.single_threaded
        return None if self.running else self.multi_threaded

    def expected_s(self, rows: int, most: int) -> float:
        """Seconds until a request that came now would begin.

        Args:
            rows: that wait before it.
            most: rows of a batch.
        """
        way, lanes = self.multi_threaded, 1
        if self.single_threaded is not None and self.single_threaded.pace.seen:
            way, lanes = self.single_threaded, self.count
        full, rest = divmod(rows, most)
        ahead = (full * way.pace.predict(most) + way.pace.predict(rest)) / lanes
        if self.running and not self.free:
            ahead += min(batch.expected_rest_s(time.perf_counter()) for batch in self.running)
        return ahead

    def submit(self, work: Callable[[], object]) -> None:
        """Do it in one of the threads."""
        self._pool.submit(work)

    def shut_down(self) -> None:
        """Wait for the batches under way; blocks."""
        self._pool.shutdown()


def compute_batch(batch: Batch) -> tuple[list[Answer | Exception], float, float]:
    """The answer or the error of each item of a batch, and when that began and ended (`time.perf_counter`).

    If the batch raises, its items are computed one by one, so that a bad one spoils no other's answer.
    """
    began = time.perf_counter()
    outcomes = list(_outcomes(batch))
    return outcomes, began, time.perf_counter()


def _outcomes(batch: Batch) -> Iterator[Answer | Exception]:
    compute = batch.way.compute
    with interruptible(batch.interruption):
        try:
            yield from _answers(batch.items, compute)
        except Exception as error:
            if len(batch.items) == 1 or isinstance(error, Interrupted):
                yield from [error] * len(batch.items)
                return
            for item in batch.items:
                try:
                    yield compute({**item.inputs, **item.common})
                except Exception as own:  # whatever the model raises is the answer to whoever asked
                    yield own


def _answers(items: Sequence[Item], compute: Compute) -> list[Answer]:
    if len(items) == 1:
        return [compute({**items[0].inputs, **items[0].common})]
    stacked = {name: np.concatenate([item.inputs[name] for item in items]) for name in items[0].inputs}
    outputs = compute({**stacked, **items[0].common})
    ends = np.cumsum([item.rows for item in items]).tolist()
    return [[output[end - item.rows : end] for output in outputs] for item, end in zip(items, ends, strict=True)]
