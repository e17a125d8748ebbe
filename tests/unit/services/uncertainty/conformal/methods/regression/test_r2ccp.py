from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.uncertainty.conformal.methods.levels import ordered_quantile
from services.uncertainty.conformal.methods.regression.r2ccp import binned_density, contain, total_lengths


def normalised(rows: list[list[int]]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    table = np.array(rows, dtype=np.float64) + 1
    return np.asarray(table / table.sum(axis=1, keepdims=True))


heights = st.lists(st.integers(0, 9), min_size=6, max_size=6)


@given(heights, st.floats(0.01, 0.5))
def test_pieces_are_where_the_interpolated_density_reaches_the_bound(row: list[int], level: float) -> None:
    middles = np.array([0, 1, 2.5, 3, 5, 6.0])
    chances = normalised([row])
    pieces = binned_density(middles, chances).sets(np.array([-level]))[0]
    tried = np.linspace(-1, 7, 801)
    density = np.interp(tried, middles, chances[0], left=0, right=0)
    held = np.array([any(start <= y <= end for start, end in pieces) for y in tried])
    clear = np.abs(density - level) > 1e-9
    np.testing.assert_array_equal(held[clear], (density >= level)[clear])
    assert all(first[1] < second[0] for first, second in pairwise(pieces)), "apart, in order"
    assert len(pieces) <= 5


@given(heights, st.floats(-1, 7))
def test_score_is_minus_the_interpolation(row: list[int], value: float) -> None:
    middles = np.array([0, 1, 2.5, 3, 5, 6.0])
    chances = normalised([row])
    expected = -np.interp(value, middles, chances[0], left=0, right=0)
    assert binned_density(middles, chances).scores([value])[0] == pytest.approx(expected, abs=1e-12)


def test_two_peaks_give_two_pieces() -> None:
    density = binned_density([0, 1, 2, 3, 4.0], [[0.0, 0.45, 0.1, 0.45, 0.0]])
    pieces = density.sets(np.array([-0.2]))[0]
    assert len(pieces) == 2
    assert pieces[0] == pytest.approx((0.2 / 0.45, 1 + 0.25 / 0.35))
    assert total_lengths([pieces])[0] == pytest.approx(sum(end - start for start, end in pieces))


def test_bounds_at_the_ends() -> None:
    density = binned_density([0.0, 1.0], [[0.5, 0.5]] * 3)
    everything, nothing, whole = density.sets(np.array([math.inf, -0.6, -0.5]))
    assert everything == [(-math.inf, math.inf)]
    assert nothing == []
    assert whole == [(0.0, 1.0)]


def test_sets_hold_the_share_that_they_say() -> None:
    middles = np.linspace(-4, 4, 17)
    shares = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        sides = random.choice([-2.0, 2.0], (2, 199))
        values = sides + random.normal(0, 0.5, (2, 199))
        rows = np.exp(-((np.abs(middles) - 2) ** 2))
        density = binned_density(middles, np.tile(rows / rows.sum(), (199, 1)))
        bound = ordered_quantile(np.sort(density.scores(values[0])), 0.1)
        shares.append(np.mean(contain(density.sets(np.full(199, bound)), values[1])))
    assert 0.885 < np.mean(shares) < 0.92


@pytest.mark.parametrize(
    ("midpoints", "probabilities", "message"),
    [
        ([0.0], [[1.0]], "at least two"),
        ([1.0, 0.0], [[0.5, 0.5]], "ascending"),
        ([0.0, 1.0], [[0.5, 0.4]], "add up"),
        ([0.0, 1.0], [[1.5, -0.5]], "negative"),
        ([0.0, 1.0], [[1.0]], "shape"),
    ],
)
def test_bad_densities_are_refused(midpoints: list[float], probabilities: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        binned_density(midpoints, probabilities)
