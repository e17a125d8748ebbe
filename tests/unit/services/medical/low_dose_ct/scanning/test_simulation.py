from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize

from services.medical.low_dose_ct.images.attenuation import MU_MAX, hu_to_attenuation
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.reconstruction.geometry import ELLIPSES, LODOPAB, ParallelBeam
from services.medical.low_dose_ct.scanning.phantoms import disc, ellipse_image, ellipse_sinogram
from services.medical.low_dose_ct.scanning.simulation import (
    apply_photon_noise,
    ellipses_pairs,
    enlarge,
    prepare_slice,
    project_attenuation,
    simulate_low_dose,
    simulation_shape,
)

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize(
    ("shape", "enlarged"), [((362, 362), (1000, 1000)), ((128, 128), (400, 400)), ((30, 47), (90, 141))]
)
def test_enlarging_equals_scikit_image(shape: tuple[int, int], enlarged: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(shape)
    np.testing.assert_allclose(enlarge(image, enlarged), resize(image, enlarged, order=1), atol=1e-12)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_grid_of_the_simulation_is_finer_and_has_square_pixels(rows: int, columns: int) -> None:
    new_rows, new_columns = simulation_shape((rows, columns))
    assert new_rows > rows
    assert new_rows * columns == new_columns * rows


def test_slice_is_cropped_transposed_and_dithered() -> None:
    hu = np.random.default_rng(0).integers(-1024, 3000, (512, 512))
    x = prepare_slice(hu, random=np.random.default_rng(1))
    assert x.shape == (362, 362)
    assert x.dtype == np.float32
    lower, upper = hu_to_attenuation(hu[75:-75, 75:-75].T), hu_to_attenuation(hu[75:-75, 75:-75].T + 1)
    assert np.all((lower - 1e-6 <= x) & (x <= upper + 1e-6))
    dither = (x - lower)[lower > 0] / (hu_to_attenuation(1.0) - hu_to_attenuation(0.0))
    assert dither.mean() == pytest.approx(0.5, abs=0.01)
    assert dither.std() == pytest.approx(1 / math.sqrt(12), abs=0.01)


def test_slice_of_other_size_or_with_nan_is_refused() -> None:
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match="512"):
        prepare_slice(np.zeros((256, 256)), random=random)
    with pytest.raises(ValueError, match="NaN"):
        prepare_slice(np.full((512, 512), np.nan), random=random)


@pytest.mark.parametrize("integral", [0.0, 1.0, 3.0])
def test_counts_have_the_mean_and_variance_of_poisson(integral: float) -> None:
    post_log = apply_photon_noise(np.full(200_000, integral), photons=4096, random=np.random.default_rng(0))
    counts = 4096 * np.exp(-post_log.astype(np.float64))
    expected = 4096 * math.exp(-integral)
    assert counts.mean() == pytest.approx(expected, rel=5 / math.sqrt(200_000 * expected))
    assert counts.var() == pytest.approx(expected, rel=0.02)
    np.testing.assert_allclose(counts, np.round(counts), rtol=1e-5)


def test_noise_after_the_logarithm_follows_the_delta_method() -> None:
    """Variance of -ln N is about 1 / E[N], and its mean lies above the integral by half of that."""
    post_log = apply_photon_noise(np.full(400_000, 2.0), photons=4096, random=np.random.default_rng(0)).astype(
        np.float64
    )
    expected = 4096 * math.exp(-2.0)
    assert post_log.var() == pytest.approx(1 / expected, rel=0.02)
    assert post_log.mean() - 2.0 == pytest.approx(0.5 / expected, rel=0.15)


def test_zero_counts_become_a_tenth_of_a_photon() -> None:
    post_log = apply_photon_noise(np.full(10, 60.0), photons=4096, random=np.random.default_rng(0))
    np.testing.assert_allclose(post_log, -math.log(0.1 / 4096), rtol=1e-6)
    assert float(post_log[0] / MU_MAX) == pytest.approx(0.13054, abs=1e-5)


def test_same_seed_same_noise() -> None:
    one, two = (apply_photon_noise(np.ones(100), random=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@settings(deadline=None)
@given(st.floats(max_value=0), st.floats(0, 5))
def test_impossible_photon_numbers_are_refused(photons: float, integral: float) -> None:
    with pytest.raises(ValueError, match="photons"):
        apply_photon_noise([integral], photons=photons, random=np.random.default_rng(0))


def test_bad_values_are_refused() -> None:
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match="line integrals hold NaN"):
        apply_photon_noise([1.0, math.nan], random=random)
    with pytest.raises(ValueError, match="image holds NaN"):
        simulate_low_dose(np.full((362, 362), np.nan), random=random)
    with pytest.raises(ValueError, match="does not fit the geometry"):
        project_attenuation(np.zeros((512, 512)))


def test_scan_of_a_disc_is_near_its_analytic_sinogram() -> None:
    shape = disc(0.25, 0.1, (0.01, 0.02))
    scan = project_attenuation(ellipse_image(shape, LODOPAB))
    exact = ellipse_sinogram(shape, LODOPAB)
    assert np.linalg.norm(scan - exact) < 0.01 * np.linalg.norm(exact)


def test_reconstruction_of_a_simulated_scan_is_in_units_of_x() -> None:
    """Water at 4096 photons: the level comes back within 1 %, scattered by noise."""
    shape = disc(float(hu_to_attenuation(0.0)), 0.08)
    sinogram = simulate_low_dose(ellipse_image(shape, LODOPAB), random=np.random.default_rng(0))
    assert sinogram.dtype == np.float32
    assert sinogram.max() <= 0.13055
    image = filtered_back_projection(sinogram)
    inside = image[ellipse_image(disc(1.0, 0.07), LODOPAB) > 0]
    assert float(inside.mean()) == pytest.approx(20 / MU_MAX, rel=0.01)
    assert float(inside.std()) > 0.005


def test_other_geometries_are_scanned_too() -> None:
    geometry = ParallelBeam(angles=20, detectors=99, detector_width=0.3, image_shape=(60, 80), image_width=0.2)
    shape = disc(0.25, 0.05, (0.01, 0.02))
    scan = project_attenuation(ellipse_image(shape, geometry), geometry)
    exact = ellipse_sinogram(shape, geometry)
    assert scan.shape == (20, 99)
    assert np.linalg.norm(scan - exact) < 0.03 * np.linalg.norm(exact)


def test_benchmark_noise_is_white_and_relative_to_the_mean() -> None:
    for sinogram, image in itertools.islice(ellipses_pairs("validation"), 3):
        clean = project_attenuation(image, ELLIPSES, side=400)
        noise = (sinogram - clean) / (0.025 * np.mean(np.abs(clean)))
        assert noise.mean() == pytest.approx(0.0, abs=4 / math.sqrt(noise.size))
        assert noise.std() == pytest.approx(1.0, abs=0.04)
        assert abs(np.mean(noise[:, 1:] * noise[:, :-1])) < 0.06
