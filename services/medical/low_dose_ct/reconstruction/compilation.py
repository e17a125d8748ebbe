"""Compiled loops and threads for the rooms that walk along rays.

Loops are compiled by numba without its own parallelism and release the interpreter lock; threads are ours. Numba's
default threading layer aborts the process when two threads of a server enter a parallel loop at once, and OpenMP
layers hang after a fork; plain threads do neither, and the thread count stays explicit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar, cast

Loop = TypeVar("Loop", bound=Callable[..., object])

_FAST_MATH = {"reassoc", "contract", "arcp", "nsz"}
"""Liberties given to the compiler: reordering and fusing, but infinities and NaN stay what they are."""


def compiled(loop: Loop) -> Loop:
    """Compile a loop with numba at its first call, keeping the machine code on disk where that is possible.

    Where neither the source folder nor the user's cache folder can be written, numba raises; the loop is then compiled
    once per process (about a second; call it at warm-up). NUMBA_CACHE_DIR gives the cache a place.
    """
    try:
        return _compile(loop, cache=True)
    except RuntimeError:
        return _compile(loop, cache=False)


def _compile(loop: Loop, *, cache: bool) -> Loop:
    import numba  # 55 MB, and as much again for the loops: loaded with the first of them

    # To a caller the compiled loop is the loop; numba's own type hides its arguments.
    return cast("Loop", numba.njit(nogil=True, fastmath=_FAST_MATH, cache=cache)(loop))


def available_threads() -> int:
    """Number of processor cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def resolve_threads(threads: int | None) -> int:
    """Return the wished number of threads, never more than the cores at hand; None means all of them.

    Raises:
        ValueError: `threads` is less than 1.
    """
    if threads is None:
        return available_threads()
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    return min(threads, available_threads())


def share_range(count: int, threads: int, work: Callable[[int, int], None]) -> None:
    """Call `work(first, beyond)` on equal parts of range(count), one part per thread, and wait for all.

    An exception of any part is raised here.
    """
    bounds = [count * part // threads for part in range(threads + 1)]
    parts = [(first, beyond) for first, beyond in pairwise(bounds) if first < beyond]
    if len(parts) <= 1:
        for first, beyond in parts:
            work(first, beyond)
        return
    with ThreadPoolExecutor(max_workers=len(parts), thread_name_prefix="low-dose-ct") as pool:
        for future in [pool.submit(work, first, beyond) for first, beyond in parts]:
            future.result()
