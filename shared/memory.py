"""Memory of a process: what a capability may take, and giving back what is free.

glibc keeps freed memory for the process, and can give back by itself no more than the end of each of its heaps. To open
a model takes three times what the open model needs, so that without this a service would hold two thirds for nothing.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread

EVERY_S = 30.0
"""Seconds between two looks. One takes a millisecond or two, in a thread; what is needed again costs page faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBudget:
    """What a capability may add to the resident memory of its service, MiB; `make bench-memory` compares.

    Attributes:
        idle_mib: once the service is ready.
        used_mib: after requests to all of its routes.
    """

    idle_mib: int
    used_mib: int


def release_free_memory() -> None:
    """Give free pages of every heap back to the system. Does nothing where the C library is not glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def release_garbage() -> None:
    """Collect cycles first: after work that made many objects and dropped them, such as opening models."""
    gc.collect()
    release_free_memory()


@asynccontextmanager
async def released_regularly(every_s: float = EVERY_S) -> AsyncIterator[None]:
    """As long as it is open, a task gives back what the peaks of requests left.

    Args:
        every_s: seconds between two looks.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_release_regularly, every_s)
        yield
        tasks.cancel_scope.cancel()


async def _release_regularly(every_s: float) -> None:
    while True:
        await anyio.sleep(every_s)
        await anyio.to_thread.run_sync(release_free_memory)
