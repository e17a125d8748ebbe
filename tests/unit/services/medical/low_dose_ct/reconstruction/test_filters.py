from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.medical.low_dose_ct.reconstruction.filters import (
    FILTER_NAMES,
    FilterName,
    Ramp,
    filter_projections,
    frequency_response,
    spatial_ramp,
    window,
)

PITCH = 0.5


def filtered(projections: np.ndarray[Any, Any], ramp: Ramp, name: FilterName = "ram-lak", c: float = 1.0) -> Any:
    values = projections.astype(np.float32)
    return filter_projections(values, PITCH, filter_name=name, frequency_scaling=c, ramp=ramp, threads=1)


@pytest.mark.parametrize(
    ("name", "half", "end"),
    [
        ("ram-lak", 1.0, 1.0),
        ("shepp-logan", math.sin(math.pi / 4) / (math.pi / 4), 2 / math.pi),
        ("cosine", math.sqrt(0.5), 0.0),
        ("hamming", 0.54, 0.08),
        ("hann", 0.5, 0.0),
    ],
)
@pytest.mark.parametrize("c", [1.0, 0.6])
def test_windows_at_zero_half_and_end(name: FilterName, half: float, end: float, c: float) -> None:
    values = window(np.array([0.0, c / 2, c, 1.0001 * c]), name, c)
    np.testing.assert_allclose(values, [1.0, half, end, 0.0], atol=1e-12)


@settings(deadline=None)
@given(st.integers(1, 80), st.integers(0, 2**32 - 1))
def test_spatial_ramp_is_the_convolution_with_the_band_limited_kernel(detectors: int, seed: int) -> None:
    projection = np.random.default_rng(seed).standard_normal(detectors)
    k = np.arange(-(detectors - 1), detectors)
    with np.errstate(divide="ignore"):
        kernel = np.where(k % 2 == 0, 0.0, -1 / (math.pi * k * PITCH) ** 2)
    kernel[k == 0] = 1 / (4 * PITCH**2)
    expected = PITCH * np.convolve(projection, kernel)[detectors - 1 : 2 * detectors - 1]
    np.testing.assert_allclose(filtered(projection[None], "spatial")[0], expected, atol=2e-5)


@pytest.mark.parametrize("name", FILTER_NAMES)
@pytest.mark.parametrize(("ramp", "shift"), [("half-bin-shifted", 0.5), ("sampled", 0.0)])
def test_sampled_ramps_equal_the_written_out_sum(name: FilterName, ramp: Ramp, shift: float) -> None:
    """f_j = (j - L/2) / (L d), or j / (L d), on the grid of length L = 2 n - 1, as a plain sum in double precision."""
    n, c = 21, 0.7
    length = 2 * n - 1
    projection = np.random.default_rng(0).standard_normal(n)
    j = np.arange(length) - (length - 1) // 2
    turns = np.where(j + shift > length / 2, j + shift - length, j + shift) / length
    basis = np.exp(2j * math.pi * np.outer(turns, np.arange(n)))
    response = np.abs(turns) / PITCH * window(2 * np.abs(turns), name, c)
    expected = ((basis.conj() @ projection) * response @ basis).real / length
    np.testing.assert_allclose(filtered(projection[None], ramp, name, c)[0], expected, atol=2e-6)


def test_spatial_ramp_approaches_the_frequency_but_keeps_a_mean() -> None:
    response = frequency_response(513, PITCH, "ram-lak", 1.0, "spatial")
    frequencies = np.linspace(0, 0.5 / PITCH, len(response))
    np.testing.assert_allclose(response[5:], frequencies[5:], rtol=0.02)
    assert response[0] > 0
    assert frequency_response(513, PITCH, "ram-lak", 1.0, "sampled")[0] == 0


def test_kernel_is_symmetric() -> None:
    kernel = spatial_ramp(64, PITCH)
    np.testing.assert_array_equal(kernel[1:], kernel[:0:-1])


def test_threads_and_blocks_do_not_matter() -> None:
    projections = np.random.default_rng(0).standard_normal((2, 301, 33)).astype(np.float32)
    one, two = (
        filter_projections(projections, PITCH, filter_name="hann", frequency_scaling=1.0, ramp="spatial", threads=n)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one[1, 7], filtered(projections[1, 7:8], "spatial", "hann")[0], rtol=1e-5, atol=1e-6)


def test_unknown_names_are_refused() -> None:
    wrong: Any = "gauss"
    with pytest.raises(ValueError, match="filter_name must be one of ram-lak"):
        filtered(np.zeros((1, 4)), "spatial", wrong)
    with pytest.raises(ValueError, match="ramp must be one of spatial"):
        filtered(np.zeros((1, 4)), wrong)


@pytest.mark.parametrize("c", [0.0, -1.0, 1.01, math.nan])
def test_scaling_outside_is_refused(c: float) -> None:
    with pytest.raises(ValueError, match="frequency_scaling"):
        filtered(np.zeros((1, 4)), "spatial", "hann", c)
