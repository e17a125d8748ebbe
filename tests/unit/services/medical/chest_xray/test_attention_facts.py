"""Figures of a density, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.medical.chest_xray.attention_facts import figures_of, region_of


def even(*shape: int) -> NDArray[np.float32]:
    return np.full(shape, 1 / np.prod(shape), np.float32)


@pytest.mark.parametrize("shape", [(60, 40), (61, 41), (7, 5)])
def test_an_even_density_is_shared_out_evenly(shape: tuple[int, int]) -> None:
    figures = figures_of(even(*shape))
    assert (figures.left, figures.right) == pytest.approx((0.5, 0.5), abs=1e-5)
    assert figures.thirds == pytest.approx((1 / 3, 1 / 3, 1 / 3), abs=1e-5)
    assert figures.spread == pytest.approx(1, abs=1e-5)
    assert figures.peak_density == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (5, 39), (59, 12), (30, 20)])
def test_a_single_pixel_is_where_it_is(row: int, column: int) -> None:
    density = np.zeros((60, 40), np.float32)
    density[row, column] = 1
    figures = figures_of(density)
    assert figures.peak == (row, column)
    assert figures.peak_density == 2400
    assert figures.left == (1 if column < 20 else 0)
    assert figures.thirds == tuple(float(row // 20 == third) for third in range(3))
    assert figures.spread == 0
    region = region_of(density, 0.9)
    assert (region.share, region.area, region.box) == (1, 1 / 2400, (column, row, column + 1, row + 1))


def test_the_column_in_the_middle_counts_half_for_each_side() -> None:
    density = np.zeros((10, 5), np.float32)
    density[:, 2] = 0.1
    assert figures_of(density).left == pytest.approx(0.5)


def test_two_equal_pixels_spread_by_a_bit() -> None:
    density = np.zeros((16, 16), np.float32)
    density[3, 3] = density[9, 9] = 0.5
    assert figures_of(density).spread == pytest.approx(1 / 8)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_a_region_of_a_bell_is_the_disc_that_holds_its_share(share: float) -> None:
    rows, columns = np.indices((301, 301)) - 150.0
    density = np.exp(-(rows**2 + columns**2) / (2 * 25**2))
    density = (density / density.sum()).astype(np.float32)
    region = region_of(density, share)
    radius = 25 * np.sqrt(-2 * np.log(1 - share))
    assert region.area * 301**2 == pytest.approx(np.pi * radius**2, rel=0.03)
    assert region.share == pytest.approx(share, abs=0.01)
    assert region.share >= share - 1e-6
    assert float(density[region.mask].sum()) == pytest.approx(region.share, abs=1e-4)
    assert region.box[0] == pytest.approx(150 - radius, abs=1.5)


def test_pixels_of_equal_value_go_together() -> None:
    assert region_of(even(10, 10), 0.5).area == 1
