"""Which pixels are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from services.security.caption_attack.searching.candidates import (
    GUIDANCES,
    SHARES,
    Guidance,
    choose_positions,
    upsample_attention,
)

SIZE = (20, 30)


def peak(row: int, column: int, shape: tuple[int, int] = (4, 6), words: int = 1) -> NDArray[np.float64]:
    maps = np.zeros((words, *shape))
    maps[:, row, column] = 1
    return maps


@settings(max_examples=80, deadline=None)
@given(
    guidance=st.sampled_from(GUIDANCES),
    maps=st.none()
    | hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 4)),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    ),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    count=st.integers(1, 100),
    share=st.sampled_from(SHARES),
    seed=st.integers(0, 2**64 - 1),
)
def test_exactly_k_different_pixels_whatever_the_attention(
    guidance: Guidance, maps: NDArray[Any] | None, size: tuple[int, int], count: int, share: float, seed: int
) -> None:
    chosen = choose_positions(guidance, maps=maps, size=size, count=count, seed=seed, share=share)
    again = choose_positions(guidance, maps=maps, size=size, count=count, seed=seed, share=share)
    assert chosen.count == len({*zip(chosen.rows, chosen.columns, strict=True)}) == min(count, size[0] * size[1])
    assert chosen.rows.max() < size[0]
    assert chosen.columns.max() < size[1]
    assert np.array_equal(chosen.rows, again.rows)
    assert np.array_equal(chosen.columns, again.columns)


def test_bilinear_upsampling_is_that_of_half_pixel_centres() -> None:
    # Two cells over four pixels: centres at 1/4 and 3/4, values in between in proportion.
    large = upsample_attention(np.array([[[0.0, 4.0]]]), (1, 4))
    assert large is not None
    assert large[0, 0] * 8 == pytest.approx([0, 1, 3, 4])


def test_each_word_counts_alike() -> None:
    maps = np.concatenate([peak(0, 0) * 1e30, peak(3, 5)])
    large = upsample_attention(maps, SIZE)
    assert large is not None
    assert large.sum(axis=(1, 2)) == pytest.approx([1, 1])


@pytest.mark.parametrize("guidance", ["sentence", "word", "strict_top", "weighted"])
def test_pixels_lie_where_the_captioner_looked_and_not_transposed(guidance: Guidance) -> None:
    chosen = choose_positions(guidance, maps=peak(0, 5), size=SIZE, count=10, seed=3, share=0.05)
    assert (chosen.rows < 8).all()
    assert (chosen.columns >= 21).all()
    assert chosen.guided


def test_the_lowest_share_leaves_out_what_the_captioner_looked_at() -> None:
    chosen = choose_positions("lowest", maps=peak(0, 5), size=SIZE, count=300, seed=3)
    assert chosen.candidates == 300
    assert not ((chosen.rows < 3) & (chosen.columns > 27)).any()


@pytest.mark.parametrize("share", SHARES)
def test_a_share_of_pixels_is_what_they_are_drawn_from(share: float) -> None:
    attention = np.random.default_rng(0).random((2, 4, 6))
    chosen = choose_positions("sentence", maps=attention, size=SIZE, count=5, seed=0, share=share)
    assert chosen.candidates == round(share * 600)


def test_fewer_candidates_than_k_are_more_candidates() -> None:
    attention = np.random.default_rng(0).random((1, 4, 6))
    assert choose_positions("sentence", maps=attention, size=SIZE, count=99, seed=0, share=0.05).count == 99


def test_a_pixel_of_two_words_is_twice_as_likely() -> None:
    # Two pixels of a 1 x 4 picture: the first is in the share of both words, the second in that of one.
    maps = np.array([[[9.0, 0, 0, 0]], [[9.0, 0, 0, 0]], [[0, 9.0, 0, 0]]])
    drawn = [
        int(choose_positions("word", maps=maps, size=(1, 4), count=1, seed=seed, share=0.25).columns[0])
        for seed in range(300)
    ]
    assert set(drawn) == {0, 1}
    assert drawn.count(0) == pytest.approx(200, abs=25)


def test_weighted_draws_follow_attention() -> None:
    maps = np.array([[[3.0, 1.0]]])
    drawn = [
        int(choose_positions("weighted", maps=maps, size=(1, 2), count=1, seed=seed).columns[0]) for seed in range(400)
    ]
    assert drawn.count(0) == pytest.approx(300, abs=26)


@pytest.mark.parametrize("maps", [None, np.zeros((2, 4, 4)), np.full((2, 4, 4), np.nan), np.full((1, 3, 3), -1.0)])
@pytest.mark.parametrize("guidance", GUIDANCES)
def test_no_attention_is_any_pixel_and_says_so(guidance: Guidance, maps: NDArray[np.float64] | None) -> None:
    chosen = choose_positions(guidance, maps=maps, size=SIZE, count=20, seed=5)
    any_pixel = choose_positions("uniform", maps=None, size=SIZE, count=20, seed=5)
    assert not chosen.guided
    assert np.array_equal(chosen.rows, any_pixel.rows)


def test_flat_attention_prefers_no_part_of_the_picture() -> None:
    chosen = choose_positions("sentence", maps=np.ones((3, 14, 14)), size=(100, 100), count=2000, seed=0, share=0.5)
    assert chosen.rows.mean() == pytest.approx(49.5, abs=3)
    assert chosen.columns.mean() == pytest.approx(49.5, abs=3)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"share": 0.0}, {"share": 1.1}, {"size": (0, 4)}])
def test_numbers_out_of_their_ranges_are_refused(wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"maps": None, "size": SIZE, "count": 4, "seed": 0, **wrong}
    with pytest.raises(ValueError, match="positions need"):
        choose_positions("uniform", **arguments)


def test_maps_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="words, rows, columns"):
        choose_positions("sentence", maps=np.ones((3, 3)), size=SIZE, count=2, seed=0)
