from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from services.uncertainty.explanation.maps import centre_maps, enlarged, gini, peak, random_maps, rank_correlation
from services.uncertainty.explanation.rendering import overlay
from shared.imaging.sheets import Panel, sheet


@given(st.lists(st.floats(-100, 100).filter(lambda value: abs(value) > 1e-3), min_size=2, max_size=30))
def test_gini_is_the_mean_difference(values: list[float]) -> None:
    """Half of the mean absolute difference of all pairs over the mean (Gini 1912)."""
    sizes = np.abs(values)
    pairs = np.abs(sizes[:, None] - sizes[None, :]).mean()
    assert gini(np.array(values)) == pytest.approx(pairs / (2 * sizes.mean()), abs=1e-9)


def test_gini_of_the_ends() -> None:
    assert gini(np.zeros((4, 4))) == 0
    assert gini(np.ones((4, 4))) == pytest.approx(0)
    one = np.zeros((10, 10))
    one[3, 4] = -2
    assert gini(one) == pytest.approx(0.99)
    assert peak(-one) == (3, 4)


def test_rank_correlation_is_spearmans() -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(8, 8)).round(1), random.normal(size=(8, 8)).round(1)
    assert rank_correlation(left, right) == pytest.approx(spearmanr(left.ravel(), right.ravel()).statistic)
    assert rank_correlation(left, np.zeros((8, 8))) is None


def test_enlarging_keeps_flat_maps_and_order() -> None:
    flat = np.full((2, 4, 4), 3, np.float32)
    np.testing.assert_allclose(enlarged(flat, height=32, width=32), 3)
    ramp = np.arange(4, dtype=np.float32)[None, None].repeat(4, axis=1)
    wide = enlarged(ramp, height=4, width=16)[0, 0]
    assert (np.diff(wide) >= 0).all()
    assert wide[0] == 0
    assert wide[-1] == 3


def test_what_knows_nothing() -> None:
    np.testing.assert_array_equal(random_maps(2, height=4, width=5, seed=1), random_maps(2, height=4, width=5, seed=1))
    assert not np.array_equal(random_maps(1, height=4, width=5, seed=1), random_maps(1, height=4, width=5, seed=2))
    centre = centre_maps(1, height=9, width=9)[0]
    assert peak(centre) == (4, 4)
    np.testing.assert_allclose(centre, centre[::-1, ::-1])


def test_overlay_is_red_for_blue_against_and_grey_between() -> None:
    picture = np.full((3, 1, 3), 0.5, np.float32)
    red, blue, grey = overlay(picture, np.array([[2.0, -2.0, 0.0]], np.float32))[0].astype(int)
    assert red[0] > red[2] + 60
    assert blue[2] > blue[0] + 60
    assert grey[0] == grey[1] == grey[2]
    nothing = overlay(picture, np.zeros((1, 3), np.float32))
    assert (nothing == grey).all()


def test_sheet_puts_panels_side_by_side() -> None:
    red, green = (np.full((32, 32, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 200, 0)))
    drawn = sheet([[Panel(red, "one"), Panel(green, "two")]])
    assert (drawn[8:264, 8:264] == (200, 0, 0)).all()
    assert (drawn[8:264, 272:528] == (0, 200, 0)).all()
    assert (drawn[266:300, 8:100] < 128).any(), "a caption"
