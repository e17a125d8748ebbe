from __future__ import annotations

import numpy as np
import pytest

from shared.imaging.colour import resize


@pytest.mark.parametrize(("height", "width"), [(15, 20), (64, 64), (60, 50), (33, 31)])
def test_bilinear_without_smoothing(height: int, width: int) -> None:
    """Output pixel k samples position (k + 1/2) * size / 32 - 1/2 of the input, clamped at the border."""
    picture = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
    rows, columns = (np.clip((np.arange(32) + 0.5) * size / 32 - 0.5, 0, size - 1) for size in (height, width))
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    y, x = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = picture[top][:, left] * (1 - x) + picture[top][:, right] * x
    lower = picture[down][:, left] * (1 - x) + picture[down][:, right] * x
    np.testing.assert_allclose(resize(picture, height=32, width=32), upper * (1 - y) + lower * y, atol=1e-5)


def test_the_right_size_stays_as_it_is() -> None:
    picture = np.random.default_rng(0).random((32, 32, 3), dtype=np.float32)
    np.testing.assert_array_equal(resize(picture, height=32, width=32), picture)


@pytest.mark.parametrize(("height", "width"), [(65, 100), (96, 96), (131, 20), (40, 333), (2048, 512)])
def test_what_becomes_much_smaller_is_averaged(height: int, width: int) -> None:
    """The integral over each new pixel's area, by cumulative sums; what is less reduced is sampled."""
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = picture.astype(np.float64)
    for axis, size in enumerate((height, width)):
        if size > 64:
            sums = np.concatenate([np.zeros_like(expected.take([0], axis)), expected.cumsum(axis)], axis)
            ends = np.linspace(0, size, 33)
            whole = np.minimum(ends.astype(int), size - 1)
            shape = [-1 if each == axis else 1 for each in range(3)]
            integral = sums.take(whole, axis) + expected.take(whole, axis) * (ends - whole).reshape(shape)
            expected = np.diff(integral, axis=axis) / (size / 32)
    left = resize(expected.astype(np.float32), height=32, width=32)
    np.testing.assert_allclose(resize(picture, height=32, width=32), left, atol=2e-3)


@pytest.mark.parametrize("side", [80, 512, 2048])
def test_a_picture_hidden_in_the_sampled_pixels_is_not_seen(side: int) -> None:
    """Of 2048 x 2048 pixels, 0.1 % are what bilinear sampling reads: they weigh as much as they cover."""
    picture = np.full((side, side, 3), 40, np.uint8)
    places = ((np.arange(32) + 0.5) * (side / 32) - 0.5).astype(int)
    for down in (0, 1):
        for across in (0, 1):
            picture[np.ix_(places + down, places + across)] = 255
    share = (picture == 255).mean()
    np.testing.assert_allclose(resize(picture, height=32, width=32).mean(), 40 + 215 * share, rtol=1e-4)
    assert resize(picture, height=32, width=32).max() < 40 + 215 * min(1.0, 4.1 * (32 / side) ** 2) + 1
