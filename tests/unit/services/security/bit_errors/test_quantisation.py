"""Weights in memory: rounding, range, and what cannot be stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from services.security.bit_errors.quantisation import quantise


@given(arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e6, 1e6, width=32)), st.integers(2, 8))
def test_a_stored_weight_is_off_by_half_a_step_at_most(weights: NDArray[np.float32], bits: int) -> None:
    tensor = quantise(weights, bits)
    most = 2 ** (bits - 1) - 1
    assert np.abs(tensor.values).max() <= most
    assert np.abs(tensor.dequantise() - weights).max() <= tensor.scale * 0.5001


def test_the_largest_weight_takes_the_last_step() -> None:
    tensor = quantise(np.array([-2.0, 0.0, 1.0], np.float32))
    assert tensor.values.tolist() == [-127, 0, 64]
    assert tensor.scale == pytest.approx(2 / 127)


def test_what_was_read_may_be_a_step_beyond_the_range() -> None:
    tensor = quantise(np.array([1.0], np.float32))
    assert tensor.dequantise(np.array([-128], np.int8))[0] == pytest.approx(-128 / 127)


def test_zeros_are_stored_as_zeros() -> None:
    assert quantise(np.zeros((2, 2), np.float32)).dequantise().tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        quantise(np.array([0.0, value], np.float32))


@pytest.mark.parametrize("bits", [0, 1, 9])
def test_a_weight_has_two_to_eight_bits(bits: int) -> None:
    with pytest.raises(ValueError, match="2 to 8"):
        quantise(np.ones(1, np.float32), bits)
