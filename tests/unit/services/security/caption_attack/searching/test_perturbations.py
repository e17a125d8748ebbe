"""Pictures out of genes, and how far they are from the clean one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from services.security.caption_attack.pictures.distances import (
    decode_png,
    difference_picture,
    encode_exactly,
    measure_distances,
)
from services.security.caption_attack.searching.candidates import choose_positions
from services.security.caption_attack.searching.perturbations import MovingPixels, OnePixel, PixelDeltas, WholePicture
from tests.unit.services.security.caption_attack.example_captioners import noise_picture

PICTURES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)))


@settings(max_examples=60, deadline=None)
@given(picture=PICTURES, count=st.integers(1, 50), bound=st.integers(1, 255), seed=st.integers(0, 99))
def test_at_most_k_pixels_change_by_at_most_the_bound_and_nothing_wraps(
    picture: NDArray[np.uint8], count: int, bound: int, seed: int
) -> None:
    positions = choose_positions("uniform", maps=None, size=picture.shape[:2], count=count, seed=seed)
    space = PixelDeltas(picture, positions, bound=bound)
    genes = np.random.default_rng(seed).integers(
        space.lower, space.upper, (3, len(space.lower)), np.int32, endpoint=True
    )
    for changed, row in zip(space.render(genes), genes, strict=True):
        assert np.array_equal(decode_png(encode_exactly(changed)), changed)
        distances = measure_distances(picture, changed)
        assert distances.l0 <= min(count, picture.shape[0] * picture.shape[1])
        assert distances.linf <= bound
        wanted = picture[positions.rows, positions.columns].astype(int) + row.reshape(-1, 3)
        assert np.array_equal(changed[positions.rows, positions.columns], np.clip(wanted, 0, 255))


def test_k_pixels_differ_exactly_where_no_delta_is_lost() -> None:
    picture = np.full((9, 9, 3), 128, np.uint8)
    positions = choose_positions("uniform", maps=None, size=(9, 9), count=17, seed=0)
    genes = np.full((1, 51), 40, np.int32)
    distances = measure_distances(picture, PixelDeltas(picture, positions, bound=40).render(genes)[0])
    assert (distances.l0, distances.linf) == (17, 40)
    assert distances.l2 == pytest.approx(40 * np.sqrt(51))


def test_moving_pixels_change_where_their_genes_say() -> None:
    picture = np.full((4, 5, 3), 100, np.uint8)
    candidates = choose_positions("uniform", maps=None, size=(4, 5), count=20, seed=0)
    space = MovingPixels(picture, candidates, count=2, bound=30)
    changed = space.render(np.array([[7, 30, -30, 0, 19, 1, 2, 3]], np.int32))[0]
    assert list(changed[1, 2]) == [130, 70, 100]
    assert list(changed[3, 4]) == [101, 102, 103]
    assert measure_distances(picture, changed).l0 == 2


def test_one_pixel_is_painted_over() -> None:
    picture = noise_picture(5, 7)
    changed = OnePixel(picture).render(np.array([[4, 6, 1, 2, 3], [0, 0, 255, 0, 255]], np.int32))
    assert list(changed[0, 4, 6]) == [1, 2, 3]
    assert list(changed[1, 0, 0]) == [255, 0, 255]
    assert measure_distances(picture, changed[0]).l0 == 1


def test_the_whole_picture_changes() -> None:
    picture = noise_picture(5, 7)
    space = WholePicture(picture, bound=8)
    assert not space.sparse
    assert measure_distances(picture, space.render(space.upper[None])[0]).linf == 8


@pytest.mark.parametrize("size", [(40, 30), (11, 11), (64, 17)])
def test_distances_are_those_of_scikit_image(size: tuple[int, int]) -> None:
    clean = noise_picture(*size)
    other = np.clip(clean + np.random.default_rng(5).integers(-40, 40, clean.shape), 0, 255).astype(np.uint8)
    distances = measure_distances(clean, other)
    assert distances.psnr_db == pytest.approx(peak_signal_noise_ratio(clean, other))
    expected = structural_similarity(
        clean, other, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert distances.ssim == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (10, 40), (12, 12)])
def test_equal_pictures_have_no_distance(size: tuple[int, int]) -> None:
    clean = noise_picture(*size)
    distances = measure_distances(clean, clean)
    assert (distances.l0, distances.linf, distances.l2, distances.psnr_db) == (0, 0, 0, None)
    assert distances.ssim == pytest.approx(1)


def test_a_difference_is_grey_where_there_is_none() -> None:
    clean = np.full((2, 2, 3), 100, np.uint8)
    other = clean.copy()
    other[0, 0] = [120, 80, 100]
    shown = difference_picture(clean, other)
    assert list(shown[0, 0]) == [255, 1, 128]
    assert (shown[1] == 128).all()
    assert (difference_picture(clean, clean) == 128).all()


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_other_arrays_are_no_pictures(picture: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="a picture is"):
        WholePicture(picture, bound=3)


@pytest.mark.parametrize("bound", [0, 256])
def test_bounds_out_of_range_are_refused(bound: int) -> None:
    with pytest.raises(ValueError, match="bound"):
        WholePicture(noise_picture(2, 2), bound=bound)
