"""Intervals against published values, and rates of loss against lines that were drawn by hand."""

from __future__ import annotations

import math

import pytest
from scipy.stats import ttest_1samp

from services.security.bit_error_campaigns.statistics import rate_of_loss, spread_of


def test_the_interval_over_seeds_is_students() -> None:
    values = [0.61, 0.42, 0.55, 0.5, 0.39]
    spread = spread_of(values)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (spread.low, spread.high) == pytest.approx((expected.low, expected.high))
    assert (spread.least, spread.most) == (0.39, 0.61)


def test_an_interval_stays_within_what_accuracies_are_and_one_seed_has_none() -> None:
    wide = spread_of([0.0, 1.0])
    assert (wide.low, wide.high) == (0.0, 1.0)
    alone = spread_of([0.7])
    assert (alone.mean, alone.std, alone.low, alone.high) == (0.7, None, None, None)


def test_a_rate_of_loss_is_interpolated_on_a_logarithmic_axis() -> None:
    rates, accuracies = [0.001, 0.01, 0.1], [0.9, 0.8, 0.2]
    assert rate_of_loss(rates, accuracies, baseline=0.9, lost=0.05) == pytest.approx(math.sqrt(0.001 * 0.01))
    assert rate_of_loss(rates, accuracies, baseline=0.9, lost=0.4) == pytest.approx(0.01 * 10**0.5)


def test_below_the_lowest_rate_it_is_interpolated_linearly() -> None:
    assert rate_of_loss([0.01], [0.5], baseline=0.9, lost=0.1) == pytest.approx(0.0025)


def test_what_is_not_lost_has_no_rate() -> None:
    assert rate_of_loss([0.001, 0.01], [0.9, 0.89], baseline=0.9, lost=0.05) is None
    assert rate_of_loss([], [], baseline=0.9, lost=0.05) is None


def test_a_curve_that_rises_again_is_read_at_its_first_fall() -> None:
    found = rate_of_loss([0.001, 0.01, 0.1], [0.8, 0.9, 0.1], baseline=0.9, lost=0.05)
    assert found == pytest.approx(0.0005)
