"""Changes of films: what they take away, what they leave."""

from __future__ import annotations

import numpy as np
import pytest

from services.medical.chest_xray.evaluation.perturbations import (
    ORIGINAL,
    VARIANTS,
    blank_middle,
    crop_border,
    draw_markers,
    gamma,
)
from services.medical.chest_xray.films import prepare_film

FILM = np.random.default_rng(0).uniform(0.2, 0.8, (200, 160)).astype(np.float32)


def test_a_tenth_of_each_side_is_cut() -> None:
    assert np.array_equal(crop_border(FILM), FILM[20:180, 16:144])


def test_letters_are_in_the_corners_and_nowhere_else() -> None:
    changed = draw_markers(FILM) != FILM
    assert changed.any()
    assert not changed[40:160].any()
    corners = (changed[:30, :80], changed[:30, 80:], changed[170:, :80], changed[170:, 80:])
    assert all(one.sum() > 20 for one in corners)
    assert draw_markers(FILM).max() == FILM.max()


def test_the_border_is_left_where_the_middle_is_blank() -> None:
    found = blank_middle(FILM)
    assert found[20:180, 16:144].std() == pytest.approx(0, abs=1e-6)
    assert np.array_equal(found[:20], FILM[:20])
    assert found.mean() == pytest.approx(FILM.mean(), rel=1e-3)


def test_gamma_keeps_the_order_of_greys_and_changes_the_prepared_film() -> None:
    found = gamma(1.5)(FILM)
    order = np.argsort(FILM, axis=None)
    assert (np.diff(found.ravel()[order]) >= 0).all()
    assert found.mean() < gamma(0.7)(FILM).mean()
    one, other = (prepare_film(each, (64, 64)).array for each in (FILM, found))
    assert np.abs(one - other).max() > 0.05


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_a_film_and_leaves_the_original_alone(variant: str) -> None:
    before = FILM.copy()
    found = VARIANTS[variant](FILM)
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() <= 1
    assert np.array_equal(FILM, before)
    assert np.array_equal(found, FILM) == (variant == ORIGINAL)
