from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB, ParallelBeam
from services.medical.low_dose_ct.scanning.phantoms import (
    Ellipse,
    Split,
    disc,
    ellipse_image,
    ellipse_sinogram,
    ellipses_phantoms,
)

Array = np.ndarray[Any, Any]


def draw_slowly(seed: int, count: int) -> list[Array]:
    """DIVal's recipe once more, every pixel of every ellipse tested in double precision, without bounding boxes."""
    random = np.random.RandomState(seed)
    first, second = np.meshgrid(np.linspace(-1, 1, 128), np.linspace(-1, 1, 128), indexing="ij")
    images = []
    for _ in range(count):
        v, a, b = random.uniform(-0.4, 1.0, 70), 0.2 * random.exponential(1.0, 70), 0.2 * random.exponential(1.0, 70)
        x, y, turn = random.uniform(-0.9, 0.9, 70), random.uniform(-0.9, 0.9, 70), random.uniform(0, 2 * np.pi, 70)
        image = np.zeros((128, 128))
        for k in range(min(random.poisson(40), 70)):
            along = np.cos(turn[k]) * (first - x[k]) + np.sin(turn[k]) * (second - y[k])
            across = -np.sin(turn[k]) * (first - x[k]) + np.cos(turn[k]) * (second - y[k])
            image += v[k] * (along**2 / a[k] ** 2 + across**2 / b[k] ** 2 <= 1)
        image[image != 0] -= image.min()
        images.append(image / image.max())
    return images


@pytest.mark.parametrize(("split", "seed"), [("train", 42), ("validation", 2), ("test", 1)])
def test_benchmark_phantoms_follow_the_recipe(split: Split, seed: int) -> None:
    """The published FBP figures, met in test_fbp.py, pin the seeds and the order of the draws."""
    for image, expected in zip(ellipses_phantoms(split), draw_slowly(seed, 5), strict=False):
        assert image.dtype == np.float32
        assert image.min() == 0.0
        assert image.max() == 1.0
        np.testing.assert_allclose(image, expected, atol=1e-5)


def test_benchmark_phantoms_are_the_same_each_time() -> None:
    first, second = (list(itertools.islice(ellipses_phantoms("test"), 3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_sinogram_of_a_disc_is_its_chord() -> None:
    sinogram = ellipse_sinogram(disc(2.0, 0.05), LODOPAB)
    chord = 2 * np.sqrt(np.maximum(0.05**2 - LODOPAB.detector_positions**2, 0))
    np.testing.assert_allclose(sinogram, np.tile(2 * chord, (1000, 1)), atol=1e-7)


def test_every_projection_of_an_ellipse_holds_its_area() -> None:
    ellipse = Ellipse(1.5, (0.08, 0.03), (0.02, -0.01), rotation=0.4)
    masses = ellipse_sinogram(ellipse, LODOPAB).sum(axis=1) * LODOPAB.detector_pitch
    np.testing.assert_allclose(masses, 1.5 * math.pi * 0.08 * 0.03, rtol=2e-3)


def test_image_of_an_ellipse() -> None:
    geometry = ParallelBeam(image_shape=(300, 200), image_width=2.0)
    ellipse = Ellipse(3.0, (1.2, 0.3), (0.1, -0.2), rotation=0.3)
    image = ellipse_image(ellipse, geometry)
    assert image.sum() * geometry.pixel_size**2 == pytest.approx(3.0 * math.pi * 1.2 * 0.3, rel=0.01)
    x, y = np.meshgrid(geometry.pixel_positions(0), geometry.pixel_positions(1), indexing="ij")
    assert (x * image).sum() / image.sum() == pytest.approx(0.1, abs=0.01)
    assert (y * image).sum() / image.sum() == pytest.approx(-0.2, abs=0.01)
    rows, columns = np.nonzero(image)
    extent = (np.ptp(rows) * geometry.pixel_size / 2, np.ptp(columns) * geometry.pixel_size / 2)
    np.testing.assert_allclose(extent, ellipse.half_extent(), atol=0.02)
