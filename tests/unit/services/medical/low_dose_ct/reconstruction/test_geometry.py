from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from services.medical.low_dose_ct.reconstruction.geometry import ELLIPSES, LODOPAB, ParallelBeam


def test_default_is_lodopab() -> None:
    assert ParallelBeam() == LODOPAB
    assert LODOPAB.sinogram_shape == (1000, 513)
    assert LODOPAB.detector_pitch == pytest.approx(0.71676e-3, rel=1e-5)
    assert LODOPAB.pixel_size == pytest.approx(0.71823e-3, rel=1e-5)
    assert LODOPAB.angles_rad[0] == pytest.approx(math.pi / 2000)
    assert LODOPAB.angles_rad[-1] == pytest.approx(math.pi - math.pi / 2000)


@pytest.mark.parametrize("geometry", [LODOPAB, ELLIPSES])
def test_detector_follows_the_rule_of_odl(geometry: ParallelBeam) -> None:
    """The detector reaches the corners of the image and has 2 * ceil(radius / pixel) + 1 bins."""
    radius = geometry.image_width / math.sqrt(2)
    assert geometry.detector_width == pytest.approx(2 * radius)
    assert geometry.detectors == 2 * math.ceil(radius / geometry.pixel_size) + 1


def test_bins_and_pixels_sit_at_cell_mid_points() -> None:
    geometry = ParallelBeam(angles=3, detectors=4, detector_width=8.0, image_shape=(2, 5), image_width=10.0)
    np.testing.assert_allclose(geometry.detector_positions, [-3, -1, 1, 3])
    np.testing.assert_allclose(geometry.pixel_positions(0), [-1, 1])
    np.testing.assert_allclose(geometry.pixel_positions(1), [-4, -2, 0, 2, 4])
    np.testing.assert_allclose(np.rad2deg(geometry.angles_rad), [30, 90, 150])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"angles": 0}, "angles"),
        ({"angles": 2.5}, "angles"),
        ({"detectors": -1}, "detectors"),
        ({"detectors": True}, "detectors"),
        ({"image_shape": (362, 0)}, r"image_shape\[1\]"),
        ({"image_shape": (362,)}, "image_shape"),
        ({"detector_width": 0.0}, "detector_width"),
        ({"image_width": math.nan}, "image_width"),
        ({"image_width": math.inf}, "image_width"),
    ],
)
def test_impossible_geometry_names_the_fault(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(LODOPAB, **change)


def test_geometry_from_json_list_is_hashable() -> None:
    shape: Any = [64, 32]
    assert hash(ParallelBeam(image_shape=shape)) == hash(ParallelBeam(image_shape=(64, 32)))
