"""Intervals of shares against scipy's."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from shared.intervals import wilson_interval


@pytest.mark.parametrize(("correct", "count"), [(0, 10), (10, 10), (81, 263), (1, 29), (980, 1000)])
def test_wilson_is_that_of_scipy(correct: int, count: int) -> None:
    expected = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct / count, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_more_trials_of_the_same_share_are_more_certain() -> None:
    few, many = wilson_interval(0.3, 10), wilson_interval(0.3, 1000)
    assert few[0] < many[0] < 0.3 < many[1] < few[1]
