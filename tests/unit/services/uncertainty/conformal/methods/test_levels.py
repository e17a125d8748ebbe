from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.uncertainty.conformal.methods.coverage_distribution import (
    binomial_interval,
    coverage_band,
    effective_sample_size,
    expected_coverage,
    hits_interval,
    hits_law,
    hits_p_value,
)
from services.uncertainty.conformal.methods.levels import (
    WeightedScores,
    conformal_quantile,
    conformal_rank,
    needed_count,
    to_level,
)
from tests.unit.services.uncertainty.conformal.methods import naive

LEVELS = ("0.01", "0.05", "0.1", "0.2", "0.3", "0.5", "0.7", "0.95")
FINITE = st.floats(-10, 10, allow_nan=False).map(lambda value: round(value, 1))


@pytest.mark.parametrize("alpha", LEVELS)
def test_ranks_are_exact(alpha: str) -> None:
    """In integers: (n + 1)(100 - a) / 100 rounded up, for the text and for the nearest float alike."""
    percent = round(100 * float(alpha))
    for count in range(5000):
        expected = -(-(count + 1) * (100 - percent) // 100)
        assert conformal_rank(count, alpha) == expected == conformal_rank(count, float(alpha))


def test_floating_point_ranks_would_be_wrong() -> None:
    """The reason for rationals: as many wrong ranks at 0.7 as were counted of the reference."""
    wrong = [n for n in range(5000) if math.ceil((n + 1) * (1 - 0.7)) != conformal_rank(n, 0.7)]
    assert len(wrong) == 500


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5, "nan", "ten", float("nan"), float("inf"), "1/0", "1e-999999999"])
def test_levels_outside_are_refused(alpha: float | str) -> None:
    with pytest.raises(ValueError, match="alpha"):
        to_level(alpha)


def test_levels_of_numpy() -> None:
    assert to_level(np.float64(0.1)) == Fraction(1, 10) == to_level(Fraction(1, 10))


@pytest.mark.parametrize(("alpha", "needed"), [("0.1", 9), ("0.05", 19), ("0.01", 99), ("0.7", 1), ("0.3", 3)])
def test_smallest_usable_count(alpha: str, needed: int) -> None:
    assert needed_count(alpha) == needed
    few = conformal_quantile(np.arange(needed - 1.0), alpha)
    assert few.value == math.inf
    assert (few.rank, few.count, few.needed) == (needed, needed - 1, needed)
    assert conformal_quantile(np.arange(float(needed)), alpha).value == needed - 1


@given(st.lists(FINITE, max_size=40), st.sampled_from(LEVELS))
def test_quantile_is_the_naive_one(scores: list[float], alpha: str) -> None:
    ours = conformal_quantile(np.array(scores, np.float64), alpha)
    assert ours.value == naive.quantile(scores, alpha)
    assert ours == conformal_quantile(np.sort(np.array(scores, np.float64)), alpha, ascending=True)


def test_nan_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        conformal_quantile(np.array([0.1, np.nan]), 0.1)


@given(
    st.lists(st.tuples(FINITE, st.integers(0, 8)), max_size=30),
    st.lists(st.integers(0, 8), min_size=1, max_size=4),
    st.sampled_from(LEVELS),
)
def test_weighted_quantile_is_the_naive_one(pairs: list[tuple[float, int]], own: list[int], alpha: str) -> None:
    scores, weights = [score for score, _ in pairs], [float(weight) for _, weight in pairs]
    if sum(weights) == 0 or min(own) == 0:
        weights, own = [weight + 1 for weight in weights], [one + 1 for one in own]
    found = WeightedScores.of(np.array(scores, np.float64), np.array(weights)).quantiles(np.array(own, float), alpha)
    # A score without weight is never needed: the next larger one with weight covers as much.
    kept = [(score, weight) for score, weight in zip(scores, weights, strict=True) if weight > 0]
    expected = [naive.weighted_quantile([s for s, _ in kept], [w for _, w in kept], float(one), alpha) for one in own]
    np.testing.assert_array_equal(found, expected)


@given(st.lists(FINITE, max_size=40), st.sampled_from(LEVELS), st.floats(1e-3, 1e3))
def test_equal_weights_are_no_weights(scores: list[float], alpha: str, weight: float) -> None:
    values = np.array(scores, np.float64)
    weighted = WeightedScores.of(values, np.full(len(values), weight))
    assert weighted.quantiles(np.array([weight]), alpha)[0] == conformal_quantile(values, alpha).value
    expected = [[naive.p_value(scores, score) for score in (-3.0, 0.0, 2.5)]]
    found = weighted.p_values(np.array([[-3.0, 0.0, 2.5]]), np.array([weight]))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_weights_stay_with_their_scores() -> None:
    """A large weight on a small score pulls the quantile down; sorted by itself it would push it up."""
    scores, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 98.0, 1.0])
    assert WeightedScores.of(scores, weights).quantiles(np.array([1.0]), 0.1)[0] == 1.0
    assert WeightedScores.of(scores, np.sort(weights)).quantiles(np.array([1.0]), 0.1)[0] == 2.0


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [np.inf, 1.0], [np.nan, 1.0]])
def test_bad_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        WeightedScores.of(np.zeros(2), np.array(weights))


def test_band_and_law_agree_with_simulation() -> None:
    """Uniform scores: the true coverage of a calibration set is its threshold itself."""
    random = np.random.default_rng(5)
    count, alpha, tests = 60, 0.1, 40
    rank = conformal_rank(count, alpha)
    thresholds = np.partition(random.random((20_000, count)), rank - 1, axis=1)[:, rank - 1]
    low, high = coverage_band(count, alpha)
    assert np.mean(thresholds < low) == pytest.approx(0.025, abs=0.004)
    assert np.mean(thresholds > high) == pytest.approx(0.025, abs=0.004)
    assert thresholds.mean() == pytest.approx(expected_coverage(count, alpha), abs=0.001)
    hits = random.binomial(tests, thresholds)
    law = hits_law(count, alpha, tests)
    np.testing.assert_allclose(np.bincount(hits, minlength=41) / 20_000, law.pmf(np.arange(41)), atol=0.012)
    bounds = hits_interval(count, alpha, tests)
    assert np.mean((hits >= bounds[0]) & (hits <= bounds[1])) >= 0.945
    assert hits_p_value(int(law.median()), count, alpha, tests) > 0.5
    assert hits_p_value(20, count, alpha, tests) < 1e-3


def test_too_few_cover_everything() -> None:
    assert coverage_band(8, 0.1) == (1.0, 1.0)
    assert hits_interval(8, 0.1, 5) == (5, 5)
    assert expected_coverage(8, 0.1) == 1
    assert (hits_p_value(5, 8, 0.1, 5), hits_p_value(4, 8, 0.1, 5)) == (1.0, 0.0)
    with pytest.raises(ValueError, match="cover everything"):
        hits_law(8, 0.1, 5)


def test_binomial_interval_in_closed_form() -> None:
    """For no hit of n the upper end is 1 - (0.025)^(1/n)."""
    assert binomial_interval(0, 20) == pytest.approx((0, 1 - 0.025 ** (1 / 20)))


def test_effective_sample_size() -> None:
    assert effective_sample_size(np.full(72, 1e-300)) == pytest.approx(72)
    assert effective_sample_size(np.array([1.0, 0, 0])) == 1
    assert effective_sample_size(np.zeros(3)) == 0
