from __future__ import annotations

import numpy as np
import pytest

from shared.imaging.colour import resize


@pytest.mark.parametrize(("height", "width"), [(15, 20), (64, 64), (100, 50), (33, 31)])
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
