from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from services.medical.low_dose_ct.reconstruction.compilation import (
    available_threads,
    compiled,
    resolve_threads,
    share_range,
)


def test_loop_without_a_place_for_its_cache_still_compiles() -> None:
    """Code without a source file stands for a read-only installation: numba finds no cache folder."""
    namespace: dict[str, Callable[[float], float]] = {}
    exec("def double(x):\n    return 2 * x", namespace)
    assert compiled(namespace["double"])(21.0) == 42.0


def test_threads_never_exceed_the_cores() -> None:
    assert resolve_threads(None) == available_threads()
    assert resolve_threads(10_000) == available_threads()
    assert resolve_threads(1) == 1


def test_no_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="threads must be at least 1"):
        resolve_threads(0)


@pytest.mark.parametrize(("count", "threads"), [(10, 3), (2, 5), (1, 1), (0, 2)])
def test_parts_cover_the_range_once(count: int, threads: int) -> None:
    done: list[int] = []
    lock = threading.Lock()

    def work(first: int, beyond: int) -> None:
        with lock:
            done.extend(range(first, beyond))

    share_range(count, threads, work)
    assert sorted(done) == list(range(count))


def test_error_of_a_part_is_raised() -> None:
    def work(first: int, beyond: int) -> None:
        raise RuntimeError(f"part {first}")

    with pytest.raises(RuntimeError, match="part"):
        share_range(4, 2, work)
