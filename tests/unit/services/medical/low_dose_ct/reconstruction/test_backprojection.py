from __future__ import annotations

import math

import numpy as np
import pytest

from services.medical.low_dose_ct.reconstruction.backprojection import back_project_linear
from services.medical.low_dose_ct.reconstruction.geometry import ParallelBeam


@pytest.mark.parametrize("shape", [(9, 9), (17, 40), (35, 8), (1, 1)])
@pytest.mark.parametrize("detectors", [1, 2, 23])
def test_equals_the_written_out_sum(shape: tuple[int, int], detectors: int) -> None:
    geometry = ParallelBeam(angles=7, detectors=detectors, detector_width=2.1, image_shape=shape, image_width=2.0)
    filtered = np.random.default_rng(0).standard_normal(geometry.sinogram_shape).astype(np.float32)
    x, y = np.meshgrid(geometry.pixel_positions(0), geometry.pixel_positions(1), indexing="ij")
    bins = geometry.detector_positions
    outside = [bins[0] - geometry.detector_pitch, *bins, bins[-1] + geometry.detector_pitch]
    expected = sum(
        np.interp(x * math.cos(theta) + y * math.sin(theta), outside, [0, *projection, 0], left=0, right=0)
        for theta, projection in zip(geometry.angles_rad, filtered, strict=True)
    )
    image = back_project_linear(filtered, geometry, threads=2)
    np.testing.assert_allclose(image, np.asarray(expected) * math.pi / 7, atol=1e-4)
    np.testing.assert_array_equal(image, back_project_linear(filtered, geometry, threads=1))
