from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import radon

from services.medical.low_dose_ct.reconstruction.backprojection import back_project_linear
from services.medical.low_dose_ct.reconstruction.geometry import ELLIPSES, LODOPAB, ParallelBeam
from services.medical.low_dose_ct.reconstruction.projector import forward_project
from services.medical.low_dose_ct.scanning.phantoms import Ellipse, disc, ellipse_image, ellipse_sinogram

Array = np.ndarray[Any, Any]


def smooth_image(shape: tuple[int, int], seed: int = 0) -> Array:
    """Random, smooth, without symmetry, zero at the borders."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    rows, columns = (np.hanning(n + 2)[1:-1] for n in shape)
    smooth = scipy.ndimage.gaussian_filter(noise, 3) * np.outer(rows, columns)
    scaled: Array = (smooth / np.abs(smooth).max()).astype(np.float32)
    return scaled


def relative_error(values: Array, reference: Array) -> float:
    return float(np.linalg.norm(values - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize(
    "ellipse", [disc(0.25, 0.1, (0.012, -0.02)), Ellipse(0.3, (0.09, 0.03), (-0.02, 0.05), rotation=0.7)]
)
def test_agrees_with_the_analytic_sinogram(ellipse: Ellipse) -> None:
    sinogram = forward_project(ellipse_image(ellipse, LODOPAB))
    assert sinogram.dtype == np.float32
    assert relative_error(sinogram, ellipse_sinogram(ellipse, LODOPAB)) < 0.01


def test_agrees_with_scikit_image() -> None:
    """Odd size, where both centres coincide: scikit-image's angle is ours less a quarter turn."""
    size = 95
    geometry = ParallelBeam(angles=60, detectors=size, detector_width=size, image_shape=(size, size), image_width=size)
    x, y = np.meshgrid(geometry.pixel_positions(0), geometry.pixel_positions(1), indexing="ij")
    image = smooth_image((size, size)) * (np.hypot(x, y) < size / 2 - 1)
    theirs = radon(image, theta=np.rad2deg(geometry.angles_rad) - 90, circle=True).T
    assert relative_error(forward_project(image, geometry), theirs) < 0.01


@pytest.mark.parametrize("shape", [(64, 64), (40, 71)])
def test_every_projection_holds_the_mass_of_the_image(shape: tuple[int, int]) -> None:
    geometry = ParallelBeam(angles=33, detectors=151, detector_width=120.0, image_shape=shape, image_width=shape[1])
    image = smooth_image(shape) + 0.5 * np.abs(smooth_image(shape, 1))
    masses = forward_project(image, geometry).sum(axis=1) * geometry.detector_pitch
    np.testing.assert_allclose(masses, image.sum() * geometry.pixel_size**2, rtol=1e-3)


def test_unit_of_length_scales_the_integrals() -> None:
    image = smooth_image((128, 128))
    metres = ParallelBeam(30, 183, ELLIPSES.detector_width / 1000, (128, 128), 0.128)
    np.testing.assert_allclose(1000 * forward_project(image, metres), forward_project(image, ELLIPSES), atol=1e-4)


def test_is_the_adjoint_of_back_projection_on_smooth_data() -> None:
    """<A x, y> = <x, A* y>: both sides discretise the same integral, so smooth data agree closely."""
    geometry = ParallelBeam(angles=50, detectors=121, detector_width=121.0, image_shape=(80, 90), image_width=90.0)
    image, data = smooth_image((80, 90)), smooth_image(geometry.sinogram_shape, 1)
    back = back_project_linear(data, geometry) * geometry.angles / np.pi
    left = float(np.vdot(forward_project(image, geometry), data)) * geometry.detector_pitch
    right = float(np.vdot(image, back)) * geometry.pixel_size**2
    scale = float(np.linalg.norm(forward_project(image, geometry)) * np.linalg.norm(data))
    assert abs(left - right) < 1e-3 * scale


@settings(deadline=None, max_examples=25)
@given(
    angles=st.integers(1, 12),
    detectors=st.integers(1, 40),
    rows=st.integers(1, 30),
    columns=st.integers(1, 30),
    factor=st.floats(-3, 3),
)
def test_is_linear_for_any_shape(angles: int, detectors: int, rows: int, columns: int, factor: float) -> None:
    geometry = ParallelBeam(angles, detectors, 40.0, (rows, columns), float(columns))
    first, second = np.random.default_rng(rows).standard_normal((2, rows, columns)).astype(np.float32)
    combined = forward_project(first + np.float32(factor) * second, geometry, threads=1)
    assert combined.shape == geometry.sinogram_shape
    parts = forward_project(first, geometry, threads=2) + factor * forward_project(second, geometry)
    np.testing.assert_allclose(combined, parts, atol=1e-3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((128, 127)), "does not fit the geometry"),
        (np.full((128, 128), np.nan), "NaN or infinite"),
        (np.full((128, 128), np.inf), "NaN or infinite"),
    ],
)
def test_bad_image_is_refused(image: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        forward_project(image, ELLIPSES)
