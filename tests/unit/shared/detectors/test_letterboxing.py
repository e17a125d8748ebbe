"""Pictures in buckets: sizes, contents, and boxes there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.detectors.letterboxing import STRIDE, Buckets, Letterboxed, Size, letterbox

BUCKETS = Buckets.of_sides(320, 544)


def test_there_are_few_sizes() -> None:
    assert [(size.height, size.width) for size in BUCKETS.sizes] == [
        (320, 320), (320, 416), (416, 320), (320, 480), (480, 320), (320, 544), (544, 320)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("height", "width", "scaled", "bucket"),
    [
        (240, 320, (320, 427), (320, 480)),
        (320, 240, (427, 320), (480, 320)),
        (1, 1, (320, 320), (320, 320)),
        (1, 10_000, (1, 544), (320, 544)),
        (10_000, 1, (544, 1), (544, 320)),
        (2000, 2000, (320, 320), (320, 320)),
        (1080, 1920, (306, 544), (320, 544)),
    ],
)
def test_sizes(height: int, width: int, scaled: tuple[int, int], bucket: tuple[int, int]) -> None:
    fitted = letterbox(np.full((height, width, 3), 200, np.uint8), BUCKETS)
    assert (fitted.scaled.height, fitted.scaled.width) == scaled
    assert fitted.pixels.shape == (*bucket, 3)
    assert fitted.pixels.dtype == np.uint8
    assert (fitted.pixels[: scaled[0], : scaled[1]] == 200).all()
    assert fitted.pixels.sum() == 200 * 3 * scaled[0] * scaled[1]


def test_the_fill_surrounds_the_picture() -> None:
    buckets = Buckets.of_sides(64, 96, fill=(1, 2, 3))
    fitted = letterbox(np.zeros((64, 70, 3), np.uint8), buckets)
    assert (fitted.pixels[:, 70:] == (1, 2, 3)).all()


def test_a_picture_of_the_right_size_is_not_changed() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (320, 320, 3)).astype(np.uint8)
    np.testing.assert_array_equal(letterbox(picture, BUCKETS).pixels, picture)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 700), st.integers(0, 700))
def test_every_picture_fits(height: int, width: int, short: int, more: int) -> None:
    buckets = Buckets.of_sides(short, short + more)
    scaled = buckets.scaled(Size(height, width))
    bucket = buckets.choose(scaled)
    assert max(scaled.height, scaled.width) <= buckets.long_side
    assert min(scaled.height, scaled.width) <= buckets.short_side
    assert bucket.height % STRIDE == bucket.width % STRIDE == 0
    assert len(buckets.sizes) <= 7


@given(st.integers(1, 5000), st.integers(1, 5000), st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_boxes_come_back(height: int, width: int, shares: list[float]) -> None:
    size = Size(height, width)
    left, right = sorted(shares[:2])
    top, bottom = sorted(shares[2:])
    boxes = np.array([[left * width, top * height, right * width, bottom * height]], np.float32)
    fitted = Letterboxed(np.zeros((1, 1, 3), np.uint8), size, BUCKETS.scaled(size))
    returned = fitted.to_posted(fitted.to_bucket(boxes))
    assert returned.dtype == np.float32
    np.testing.assert_allclose(returned, boxes, rtol=1e-5, atol=1e-30)


def test_boxes_are_cut_off_at_the_edges() -> None:
    fitted = letterbox(np.zeros((240, 320, 3), np.uint8), BUCKETS)
    boxes = np.array([[-5, -5, 1000, 1000], [460, 10, 470, 20]], np.float32)
    np.testing.assert_allclose(fitted.to_posted(boxes), np.array([[0, 0, 320, 240], [320, 7.5, 320, 15]]), rtol=1e-6)


@pytest.mark.parametrize(
    ("short", "long", "sizes"),
    [(320, 200, [(320, 320)]), (0, 200, [(320, 320)]), (64, 96, [(64, 96)]), (64, 64, [(70, 70)]), (64, 64, [(0, 64)])],
)
def test_buckets_that_do_not_work_are_refused(short: int, long: int, sizes: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=r"side|fits"):
        Buckets(short, long, tuple(Size(*size) for size in sizes))
