"""Maps of attention: of the picture's shape, bright where was looked, black where nothing was seen."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from services.perception.captioning.attention import LONGEST_SIDE, draw_map, map_png, map_sides
from shared.imaging.preprocessing import Preprocessing


def test_the_brightest_place_is_where_the_largest_weight_lies() -> None:
    weights = np.full((4, 4), 0.02, np.float32)
    weights[1, 3] = 0.7
    drawn = draw_map(weights, (0, 0, 200, 100), height=100, width=200)
    assert drawn.shape == (100, 200)
    row, column = np.unravel_index(drawn.argmax(), drawn.shape)
    assert 25 <= row < 50
    assert 150 <= column < 200
    assert drawn.max() == 255
    assert drawn[80, 20] == round(0.02 / 0.7 * 255)


@pytest.mark.parametrize(("height", "width"), [(90, 160), (160, 90), (51, 50)])
def test_a_map_lies_where_the_cut_was(height: int, width: int) -> None:
    box = Preprocessing(region="centre", share=0.5).box(height, width, 1.0)
    drawn = draw_map(np.ones((3, 3), np.float32), box, height=height, width=width)
    rows, columns = np.nonzero(drawn)
    side = min(height, width) / 2
    for found, whole in ((rows, height), (columns, width)):
        assert found.min() == pytest.approx((whole - side) / 2, abs=1)
        assert found.max() + 1 == pytest.approx((whole + side) / 2, abs=1)
    assert (drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] == 255).all()


def test_maps_of_large_pictures_are_smaller_and_have_their_shape() -> None:
    assert map_sides(300, 512) == (300, 512)
    assert map_sides(3000, 4000) == (384, LONGEST_SIDE)
    assert map_sides(5000, 1) == (LONGEST_SIDE, 1)
    drawn = draw_map(np.eye(2, dtype=np.float32), (1000, 0, 3000, 2000), height=2000, width=4000)
    assert drawn.shape == (256, 512)
    assert not drawn[:, :128].any()
    assert not drawn[:, 384:].any()
    assert drawn[10, 140] == 255


def test_a_map_is_a_grey_png() -> None:
    with Image.open(io.BytesIO(map_png(np.zeros((2, 2), np.float32), (0, 0, 7, 5), height=5, width=7))) as image:
        assert (image.mode, image.size) == ("L", (7, 5))
        assert np.asarray(image).max() == 0
