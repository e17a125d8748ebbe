"""Overlays: the film's own pixels, a map on them, a colour bar beside."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2lab

from services.medical.chest_xray.drawing import ShownMap, colours, draw_film, draw_overlay
from services.medical.chest_xray.film_reading import read_film
from tests.unit.services.medical.chest_xray.conftest import FILM, PICTURE, PIXEL_LIMIT

DRAWN = read_film(PICTURE, pixel_limit=PIXEL_LIMIT)


def spot(row: int, column: int) -> ShownMap:
    rows, columns = np.indices(DRAWN.shape)
    values = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 30.0**2)).astype(np.float32)
    return ShownMap(values, "relative density (even = 1)", 12.3)


def test_lightness_of_the_colours_rises_evenly() -> None:
    lightness = rgb2lab(colours()[None] / 255)[0, :, 0]
    steps = np.diff(lightness[::16])
    assert (np.diff(lightness) >= -0.5).all()
    assert steps[1:].min() > 0.8 * steps.mean(), "but for the first, which is almost black"
    assert steps.max() < 1.3 * steps.mean()


def test_the_film_keeps_its_grid_and_the_bar_stands_beside_it() -> None:
    overlay = draw_overlay(DRAWN, spot(200, 100))
    rows, columns = DRAWN.shape
    assert overlay.dtype == np.uint8
    assert overlay.shape[0] == rows
    assert columns < overlay.shape[1] < 1.5 * columns
    far = np.s_[400:, 300:columns]
    assert np.array_equal(overlay[far], draw_film(DRAWN)[far])
    bar = overlay[:, columns:].reshape(-1, 3)
    present = {tuple(colour) for colour in bar.tolist()}
    assert sum(tuple(one) in present for one in colours().tolist()) > 200


@pytest.mark.parametrize(("row", "column"), [(200, 100), (40, 480), (600, 256)])
def test_the_map_is_over_the_film_where_it_is_high(row: int, column: int) -> None:
    overlay, film = draw_overlay(DRAWN, spot(row, column)), draw_film(DRAWN)
    change = np.abs(overlay[:, : film.shape[1]].astype(int) - film).sum(axis=2)
    rows, columns = np.indices(change.shape)
    centre = (change * rows).sum() / change.sum(), (change * columns).sum() / change.sum()
    assert centre == pytest.approx((row, column), abs=40)
    coloured = np.ptp(overlay[:, : film.shape[1]].astype(int), axis=2)
    assert coloured[row, column] > 40


def test_each_pixel_is_the_mixture_that_the_module_promises() -> None:
    shown = spot(320, 250)
    overlay, film = draw_overlay(DRAWN, shown), draw_film(DRAWN).astype(np.float64)
    level = (shown.values / shown.values.max()).astype(np.float64)
    colour = colours()[np.rint(level * 255).astype(int)].astype(np.float64)
    weight = 0.75 * level[..., None]
    wanted = film * (1 - weight) + colour * weight
    assert np.abs(overlay[:, : film.shape[1]] - wanted).max() <= 1


def test_a_map_of_nothing_leaves_the_film_alone() -> None:
    shown = ShownMap(np.zeros(DRAWN.shape, np.float32), "evidence for normal (highest = 1)", 1.0)
    assert np.array_equal(draw_overlay(DRAWN, shown)[:, : DRAWN.shape[1]], draw_film(DRAWN))


def test_padding_is_drawn_black() -> None:
    film = read_film(FILM, pixel_limit=PIXEL_LIMIT)
    assert film.valid is not None
    assert not draw_film(film)[~film.valid].any()


@pytest.mark.parametrize("shape", [(64, 64), (64, 400), (900, 70)])
def test_small_and_odd_films_have_a_bar_too(shape: tuple[int, int]) -> None:
    from services.medical.chest_xray.films import Film
    from shared.imaging.signatures import MediaType

    film = Film(np.random.default_rng(1).random(shape, np.float32), MediaType.PNG)
    overlay = draw_overlay(film, ShownMap(film.pixels, "relative density (even = 1)", 3.21))
    assert overlay.shape[0] == shape[0]
    assert overlay.shape[1] > shape[1] + 20
