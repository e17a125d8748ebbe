"""What a batcher holds, takes and tells of: items, those who wait for them, batches, limits, reports."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from shared.runtime.batching.latency_model import LatencyModel
from shared.runtime.cancellation import CancellationToken

Arrays = Mapping[str, NDArray[Any]]
"""Tensors by name."""

Answer = Sequence[NDArray[Any]]
"""A model's outputs, in the order of its card."""


@dataclass(slots=True, eq=False)
class Waiter:
    """One who waits for an item, and until when (`time.perf_counter`)."""

    future: asyncio.Future[Done]
    deadline: float


@dataclass(slots=True, eq=False)
class Item:
    """Rows that are computed together or not at all.

    Attributes:
        inputs: arrays whose first axis is the batch.
        common: inputs without that axis.
        rows: how many.
        cost: towards the limit of a batch.
        signature: equal for items that stack.
        key: digest of the inputs, where equal items are computed once.
        arrived: when (`time.perf_counter`).
        waiters: who wants it.
    """

    inputs: Arrays
    common: Arrays
    rows: int
    cost: float
    signature: tuple[object, ...]
    key: bytes | None
    arrived: float
    waiters: list[Waiter] = field(default_factory=list)

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return any(not waiter.future.done() for waiter in self.waiters)

    @property
    def deadline(self) -> float:
        """When the last of those who wait gives up."""
        return max(waiter.deadline for waiter in self.waiters)


@dataclass(frozen=True, slots=True)
class Done:
    """An item's answer, when its batch began and ended (`time.perf_counter`), and the rows of that."""

    answer: Answer
    began: float
    ended: float
    rows: int


@dataclass(slots=True, eq=False)
class Executor:
    """A way of computing a batch: with one thread, or with all. And how long it takes."""

    compute: Callable[[Arrays], Answer]
    pace: LatencyModel = field(default_factory=LatencyModel)


@dataclass(slots=True, eq=False)
class Batch:
    """Items that are computed now, how, since when, and their switch."""

    items: list[Item]
    way: Executor
    began: float
    interruption: CancellationToken = field(default_factory=CancellationToken)

    @property
    def rows(self) -> int:
        """Rows of all items."""
        return sum(item.rows for item in self.items)

    def expected_rest_s(self, now: float) -> float:
        """Seconds it will take from now (`time.perf_counter`) on."""
        return max(0.0, self.way.pace.predict(self.rows) - (now - self.began))


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a batcher takes.

    Attributes:
        rows: most rows of a batch; an item that has more is computed alone.
        queue: most items that wait; beyond it, or sooner where answers take long, callers are refused with the time
            after which to try again.
        cost: most cost of a batch, where items say what they cost (pixels, steps).
        tolerated_s: seconds from arrival to answer beyond which fewer requests are let in.
        coalesce: whether equal items that are under way at the same time are computed once.
        answers: how many answers are kept for equal items that come later; 0 keeps none.
    """

    rows: int = 16
    queue: int = 256
    cost: float = math.inf
    tolerated_s: float = math.inf
    coalesce: bool = False
    answers: int = 0


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a batch was, for metrics.

    Attributes:
        items: how many requests it answered.
        rows: how many rows they had.
        infer_s: seconds that the model ran.
        waiting: items left in the queue when it began.
    """

    items: int
    rows: int
    infer_s: float
    waiting: int
