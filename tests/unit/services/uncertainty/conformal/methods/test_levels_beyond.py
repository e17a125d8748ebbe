from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.uncertainty.conformal.methods.levels import (
    WeightedScores,
    conformal_rank,
    needed_count,
    ordered_quantile,
    take_smallest,
)


@given(st.integers(0, 5000), st.integers(1, 999))
def test_rank_is_that_of_rational_numbers(count: int, thousandths: int) -> None:
    alpha = thousandths / 1000
    numerator = (count + 1) * (1000 - thousandths)
    assert conformal_rank(count, alpha) == -(-numerator // 1000)


@pytest.mark.parametrize(("alpha", "count"), [(0.1, 9), (0.05, 19), (0.01, 99), ("0.3", 3), (0.5, 1)])
def test_needed_count_is_the_first_with_a_finite_bound(alpha: float | str, count: int) -> None:
    assert needed_count(alpha) == count
    assert conformal_rank(count, alpha) <= count
    assert conformal_rank(count - 1, alpha) > count - 1


def test_ends_of_the_quantile() -> None:
    scores = np.array([1.0, 2.0, 3.0])
    assert [take_smallest(scores, rank) for rank in (-1, 0, 1, 3, 4)] == [-math.inf, -math.inf, 1, 3, math.inf]
    assert ordered_quantile(scores, -0.2) == math.inf, "adaptive levels leave [0, 1]"
    assert ordered_quantile(scores, 0.0) == math.inf
    assert ordered_quantile(scores, 1.0) == -math.inf
    assert ordered_quantile(np.empty(0), 0.1) == math.inf


@pytest.mark.parametrize("alpha", [0, 1, -0.1, "nan", float("inf"), "much"])
def test_level_is_refused(alpha: float | str) -> None:
    with pytest.raises(ValueError, match=r"alpha|level"):
        needed_count(alpha)


@given(st.integers(1, 300), st.integers(1, 99))
def test_equal_weights_are_no_weights(count: int, hundredths: int) -> None:
    scores = np.arange(count, dtype=np.float64)
    alpha = Fraction(hundredths, 100)
    found = WeightedScores(scores, np.full(count, 0.1)).quantiles(np.array([0.1]), alpha)
    assert found[0] == ordered_quantile(scores, alpha)


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 9)), min_size=1, max_size=20), st.integers(1, 99))
def test_weighted_quantile_is_that_of_copies(pairs: list[tuple[float, int]], hundredths: int) -> None:
    """Whole weights are copies of scores; the test point's copies lie at infinity."""
    ordered = sorted(pairs)
    copies = [score for score, weight in ordered for _ in range(weight)] + [math.inf] * 3
    needed = math.ceil(len(copies) * Fraction(100 - hundredths, 100))
    scores, weights = (np.array(column, dtype=np.float64) for column in zip(*ordered, strict=True))
    assert (
        WeightedScores(scores, weights).quantiles(np.array([3.0]), Fraction(hundredths, 100))[0] == copies[needed - 1]
    )
