"""How films are prepared for the network, and how its maps come back to the film's own grid."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.transform import downscale_local_mean

from services.medical.chest_xray.films import Prepared, prepare_film, resize_by_area, spread_greys

NETWORK = (320, 256)
SHAPES = [(978, 814), (512, 512), (301, 903), (320, 256), (64, 64), (101, 67), (128, 200)]


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, np.float32)


def delta(prepared: Prepared, row: int, column: int) -> NDArray[np.float32]:
    field = np.zeros(prepared.array.shape, np.float32)
    field[prepared.top + row, prepared.left + column] = 1
    return field


@pytest.mark.parametrize("shape", SHAPES)
def test_a_film_fits_and_lies_in_the_middle_between_black_bars(shape: tuple[int, int]) -> None:
    prepared = prepare_film(0.2 + 0.8 * noise(*shape), NETWORK)
    assert prepared.array.shape == NETWORK
    assert prepared.array.dtype == np.float32
    assert (prepared.height == NETWORK[0]) or (prepared.width == NETWORK[1])
    assert prepared.height / prepared.width == pytest.approx(shape[0] / shape[1], rel=0.02)
    below, right = NETWORK[0] - prepared.top - prepared.height, NETWORK[1] - prepared.left - prepared.width
    assert 0 <= below - prepared.top <= 1
    assert 0 <= right - prepared.left <= 1
    inside = np.zeros(NETWORK, bool)
    inside[prepared.top : prepared.top + prepared.height, prepared.left : prepared.left + prepared.width] = True
    assert (prepared.array[~inside] == 0).all()
    assert prepared.array[inside].mean() > 0.3


@pytest.mark.parametrize("factor", [2, 5])
def test_shrinking_is_the_mean_over_areas(factor: int) -> None:
    pixels = noise(NETWORK[0] * factor, NETWORK[1] * factor)
    reference = downscale_local_mean(spread_greys(pixels), (factor, factor))
    assert np.abs(prepare_film(pixels, NETWORK).array - reference).max() < 1e-5


def test_shrinking_by_a_broken_factor_counts_each_pixel_by_its_part() -> None:
    """Against a film whose pixels are first made smaller, so that the factor is whole."""
    pixels = noise(48, 60)
    fine = np.repeat(np.repeat(pixels, 20, axis=0), 24, axis=1)  # 960 x 1440
    reference = downscale_local_mean(fine, (960 // 20, 1440 // 24)).astype(np.float32)
    assert np.abs(resize_by_area(pixels, 20, 24) - reference).max() < 1e-5


def test_growing_keeps_a_slope() -> None:
    slope = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (80, 1))
    grown = resize_by_area(slope, 160, 256)
    assert (np.diff(grown, axis=1) >= -1e-6).all()
    assert np.abs(grown[:, 2:-2].mean() - 0.5) < 1e-3


def test_the_grey_scale_is_spread_between_two_percentiles() -> None:
    pixels = (0.3 + 0.2 * noise(400, 300)).astype(np.float32)
    low, high = np.percentile(pixels, (0.5, 99.5))
    spread = spread_greys(pixels)
    assert np.abs(spread - np.clip((pixels - low) / (high - low), 0, 1)).max() < 1e-5
    assert (spread == 0).mean() == pytest.approx(0.005, abs=1e-3)
    assert (spread == 1).mean() == pytest.approx(0.005, abs=1e-3)


def test_a_hot_marker_does_not_darken_a_film() -> None:
    pixels = (0.1 * noise(512, 512)).astype(np.float32)
    marked = pixels.copy()
    marked[10:30, 10:30] = 1.0
    plain, hot = (prepare_film(one, NETWORK).array for one in (pixels, marked))
    elsewhere = np.s_[60:, 40:]
    assert np.abs(plain[elsewhere] - hot[elsewhere]).max() < 0.02


def test_padding_is_black_and_says_nothing_of_exposure() -> None:
    pixels = (0.4 + 0.2 * noise(200, 160)).astype(np.float32)
    valid = np.ones(pixels.shape, bool)
    valid[:, :60] = False
    padded = pixels.copy()
    padded[:, :60] = 1.0
    spread = spread_greys(padded, valid)
    assert (spread[:, :60] == 0).all()
    assert np.array_equal(spread[:, 60:], spread_greys(pixels[:, 60:]))


def test_a_film_of_one_grey_becomes_black() -> None:
    assert not prepare_film(np.full((100, 100), 0.4, np.float32), NETWORK).array.any()
    assert not spread_greys(np.ones((9, 9), np.float32), np.zeros((9, 9), bool)).any()


def test_high_pixels_make_a_film_higher() -> None:
    prepared = prepare_film(noise(100, 160), NETWORK, aspect=2.0)
    assert prepared.height / prepared.width == pytest.approx(200 / 160, rel=0.01)
    assert prepared.to_film_grid(np.full(NETWORK, 1e-4)).shape == (100, 160)


@pytest.mark.parametrize("bad", [np.zeros((3, 4, 5), np.float32), np.zeros((0, 4), np.float32)])
def test_what_is_no_film_is_refused(bad: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="two-dimensional"):
        prepare_film(bad, NETWORK)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", [(0.1, 0.2), (0.5, 0.5), (0.93, 0.71)])
def test_a_point_of_the_network_lands_on_its_pixel_of_the_film(
    shape: tuple[int, int], place: tuple[float, float]
) -> None:
    prepared = prepare_film(noise(*shape), NETWORK)
    row, column = int(place[0] * prepared.height), int(place[1] * prepared.width)
    found = prepared.to_film_grid(delta(prepared, row, column))
    assert found.shape == shape
    assert found.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    rows, columns = np.indices(shape)
    centre = [float((axis * found).sum(dtype=np.float64)) for axis in (rows, columns)]
    wanted = [
        (row + 0.5) * shape[0] / prepared.height - 0.5,
        (column + 0.5) * shape[1] / prepared.width - 0.5,
    ]
    assert centre == pytest.approx(wanted, abs=0.51)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bright_spot_of_a_film_is_seen_where_the_map_of_it_comes_back_to(shape: tuple[int, int]) -> None:
    pixels = np.zeros(shape, np.float32)
    row, column = shape[0] // 5, 4 * shape[1] // 5
    high, wide = max(1, shape[0] // 12), max(1, shape[1] // 12)  # large enough for the 99.5th percentile
    pixels[row : row + high, column : column + wide] = 1
    prepared = prepare_film(pixels, NETWORK)
    found = prepared.to_film_grid(prepared.array / prepared.array.sum())
    peak = np.unravel_index(int(found.argmax()), shape)
    assert row - 1 <= peak[0] <= row + high
    assert column - 1 <= peak[1] <= column + wide


def test_a_mirrored_film_has_the_mirrored_map() -> None:
    pixels = noise(333, 271)
    one, other = prepare_film(pixels, NETWORK), prepare_film(pixels[:, ::-1].copy(), NETWORK)
    maps = [each.to_film_grid(each.array / each.array.sum()) for each in (one, other)]
    assert np.abs(maps[0] - maps[1][:, ::-1]).max() < 1e-3 * maps[0].max()
    assert np.abs(maps[0] - maps[1]).max() > 0.05 * maps[0].max()


def test_what_lies_on_the_bars_is_shared_out() -> None:
    prepared = prepare_film(noise(100, 333), NETWORK)
    assert prepared.top > 50
    even = np.full(NETWORK, 1 / (NETWORK[0] * NETWORK[1]))
    found = prepared.to_film_grid(even)
    assert np.abs(found * found.size - 1).max() < 1e-4


def test_a_map_that_is_no_density_is_interpolated_only() -> None:
    prepared = prepare_film(noise(300, 200), NETWORK)
    coarse = np.full((10, 8), -2.5, np.float32)
    assert np.array_equal(prepared.to_film_grid(coarse, density=False), np.full((300, 200), -2.5, np.float32))


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_what_is_no_density_is_refused(value: float) -> None:
    prepared = prepare_film(noise(90, 90), NETWORK)
    with pytest.raises(ValueError, match="no density"):
        prepared.to_film_grid(np.full(NETWORK, value))


def test_there_and_back_is_nearly_the_same() -> None:
    prepared = prepare_film(noise(640, 480), NETWORK)
    rows, columns = np.indices((640, 480))
    target = np.exp(-((rows - 200) ** 2 + (columns - 300) ** 2) / (2 * 40**2))
    target /= target.sum()
    back = prepared.to_film_grid(prepared.to_network_grid(target))
    assert np.abs(back - target).sum() < 0.01
