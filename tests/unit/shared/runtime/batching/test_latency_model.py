"""What a batcher learns of a model's speed, and what follows for its batches and its queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.batching.concurrency_limit import ConcurrencyLimit
from shared.runtime.batching.latency_model import LatencyModel


def paced(*, a_row: float, a_batch: float, sizes: tuple[int, ...] = (1, 2, 4, 8, 16)) -> LatencyModel:
    pace = LatencyModel()
    for _ in range(10):
        for rows in sizes:
            pace.learn(rows, a_row * rows + a_batch)
    return pace


@given(st.floats(1e-5, 1.0), st.floats(0.0, 1.0), st.integers(1, 64))
def test_a_line_is_found(a_row: float, a_batch: float, rows: int) -> None:
    pace = paced(a_row=a_row, a_batch=a_batch)
    assert pace.predict(rows) == pytest.approx(a_row * rows + a_batch, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("a_row", "a_batch", "most", "best_batch_size"),
    [
        (0.2, 0.0, 16, 1),  # a batch does no more work in a second than a single row
        (0.014, 0.0032, 16, 7),  # 69 rows a second in sevens, 70.4 in sixteens
        (0.0001, 0.01, 16, 16),  # what a batch costs is hardly more than what a row does
    ],
)
def test_batches_are_no_larger_than_pays(a_row: float, a_batch: float, most: int, best_batch_size: int) -> None:
    assert paced(a_row=a_row, a_batch=a_batch).best_batch_size(most) == best_batch_size


@given(st.floats(1e-5, 1.0), st.floats(0.0, 1.0), st.integers(1, 64))
def test_and_lose_two_hundredths_of_the_throughput_at_most(a_row: float, a_batch: float, most: int) -> None:
    rows = paced(a_row=a_row, a_batch=a_batch).best_batch_size(most)
    assert 1 <= rows <= most
    assert rows / (a_row * rows + a_batch) >= 0.975 * most / (a_row * most + a_batch)


def test_of_batches_of_one_size_twice_that_is_tried_next() -> None:
    assert LatencyModel().best_batch_size(16) == 16
    for rows, tried in ((1, 2), (3, 6), (8, 16), (12, 16)):
        assert paced(a_row=0.2, a_batch=0.0, sizes=(rows,)).best_batch_size(16) == tried


def queue_of(limit: ConcurrencyLimit, *, per_second: float, offered: int, rounds: int = 300) -> float:
    """Seconds that an answer takes at last, if as many wait as are let in."""
    seconds = 0.0
    for _ in range(rounds):
        waiting = min(offered, limit.value)
        seconds = waiting / per_second
        limit.learn(seconds, in_flight=waiting)
    return seconds


@pytest.mark.parametrize("per_second", [10.0, 70.0, 300.0])
def test_a_queue_gets_no_longer_than_is_tolerated(per_second: float) -> None:
    limit = ConcurrencyLimit(least=2, most=1000, tolerated_s=0.5)
    assert queue_of(limit, per_second=per_second, offered=1000) < 0.75
    assert limit.value >= max(2, int(0.4 * per_second))


def test_a_fast_model_keeps_its_whole_queue() -> None:
    limit = ConcurrencyLimit(least=2, most=272, tolerated_s=0.5)
    queue_of(limit, per_second=5000, offered=272)
    assert limit.value == 272


def test_the_limit_comes_back_when_the_machine_is_quick_again() -> None:
    limit = ConcurrencyLimit(least=2, most=272, tolerated_s=0.5)
    queue_of(limit, per_second=20, offered=272)
    assert limit.value < 30
    queue_of(limit, per_second=5000, offered=272)
    assert limit.value == 272


def test_few_requests_teach_nothing() -> None:
    limit = ConcurrencyLimit(least=2, most=100, tolerated_s=0.5)
    for _ in range(50):
        limit.learn(5.0, in_flight=100)
    low = limit.value
    for _ in range(1000):
        limit.learn(0.001, in_flight=0)
    assert limit.value == low
