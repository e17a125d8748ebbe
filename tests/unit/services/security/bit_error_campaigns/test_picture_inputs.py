"""Which shapes take pictures, and what becomes of one on its way to the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.security.bit_error_campaigns.picture_inputs import (
    PictureParameters,
    UnusableClassifier,
    card_parameters,
    picture_input,
)
from tests.support.capability import png

COLOURS = np.zeros((4, 6, 3), np.uint8)
COLOURS[:, :3] = (255, 0, 0)
COLOURS[:, 3:] = (0, 0, 255)


def read(dtype: str, shape: list[Any], **parameters: Any) -> Any:
    taken = picture_input(dtype, shape, PictureParameters(**parameters))
    found = taken.read(png(COLOURS), pixel_limit=100, pointer="/")
    assert found.shape == taken.shape
    assert found.dtype == np.dtype(dtype)
    assert found.flags.c_contiguous
    return found


def test_channels_come_first_or_last() -> None:
    first, last = read("float32", ["b", 3, 4, 6]), read("float32", ["b", 4, 6, 3])
    np.testing.assert_array_equal(first, COLOURS.transpose(2, 0, 1) / np.float32(255))
    np.testing.assert_array_equal(last, first.transpose(1, 2, 0))


def test_grey_is_luminance_with_and_without_an_axis_and_in_a_row() -> None:
    expected = np.asarray(Image.fromarray(COLOURS).convert("L"), np.float32) / 255
    for shape in (["b", 1, 4, 6], ["b", 4, 6, 1], ["b", 4, 6]):
        np.testing.assert_allclose(read("float32", shape).reshape(4, 6), expected, atol=1 / 255)
    np.testing.assert_allclose(read("float64", ["b", 24], size=(4, 6)).reshape(4, 6), expected, atol=1 / 255)


def test_rows_of_numbers_are_square_pictures_where_nothing_is_said() -> None:
    assert picture_input("float32", [None, 64], PictureParameters()).channels == 1
    coloured = picture_input("float32", [None, 3 * 25], PictureParameters())
    assert (coloured.channels, coloured.height, coloured.width) == (3, 5, 5)


def test_ranges_and_normalisation() -> None:
    np.testing.assert_array_equal(read("uint8", ["b", 3, 4, 6]), COLOURS.transpose(2, 0, 1))
    signed = read("float32", ["b", 3, 4, 6], range=(-1, 1))
    assert (signed.min(), signed.max()) == (-1, 1)
    normal = read("float32", ["b", 3, 4, 6], mean=(0.5, 0.25, 0.0), std=(0.5,), range=(-2, 2))
    np.testing.assert_allclose(normal[:, 0, 0], [1, -0.5, 0])


def test_any_size_needs_one_and_a_fixed_batch_is_obeyed() -> None:
    assert read("float16", [7, 3, "h", "w"], size=(2, 3)).shape == (3, 2, 3)
    assert picture_input("float32", [7, 3, 8, 8], PictureParameters()).batch_size == 7
    assert picture_input("float32", ["b", 3, 224, 224], PictureParameters()).batch_size == 16


@pytest.mark.parametrize(
    ("dtype", "shape", "parameters", "says"),
    [
        ("int64", ["b", 3, 8, 8], {}, "input is int64"),
        ("float32", ["b", 4, 8, 8], {}, r"\[b, 4, 8, 8\]"),
        ("float32", [None, None, None], {}, "any height and width"),
        ("float32", ["b", "c", 8, 8], {}, "shape"),
        ("float32", ["b", 7], {}, "rows of 7 numbers"),
        ("float32", ["b", 64], {"size": (4, 4), "channels": 3}, "rows of 64 numbers"),
        ("float32", ["b", "n"], {}, "rows of any length"),
        ("float32", ["b", 3, "h", "w"], {"size": (0, 4)}, "1 to 4096"),
        ("float32", ["b", 3, 8, 8], {"std": (1, 0, 1)}, "zero"),
        ("float32", ["b", 3, 8, 8], {"mean": (1, 0)}, "2 numbers for 3 channels"),
    ],
)
def test_what_takes_no_pictures_is_refused(dtype: str, shape: list[Any], parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(UnusableClassifier, match=says):
        picture_input(dtype, shape, PictureParameters(**parameters))


def test_cards_say_the_range_at_their_input() -> None:
    assert card_parameters({"width": 32, "classes": ["a"]}, (0.0, 255.0)).range == (0.0, 255.0)
    assert card_parameters({"range": [-1, 1]}, (0.0, 255.0)).range == (-1.0, 1.0)
