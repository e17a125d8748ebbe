"""Synthetic objects: ellipses with a known scan, and the phantoms of DIVal's "ellipses" benchmark.

A disc has an analytic sinogram and so decides whether projector and reconstruction keep values. The benchmark phantoms
(Leuschner et al., DIVal) need no download: they are a random recipe with fixed seeds, repeated here draw by draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.medical.low_dose_ct.reconstruction.geometry import ParallelBeam

Split = Literal["train", "validation", "test"]

ELLIPSES_SEEDS: dict[Split, int] = {"train": 42, "validation": 2, "test": 1}
ELLIPSES_SIDE = 128
MAX_ELLIPSES = 70
MEAN_ELLIPSES = 40


@dataclass(frozen=True, slots=True)
class Ellipse:
    """A uniform ellipse in the coordinates of a geometry.

    Attributes:
        value: what it adds inside.
        half_axes: half lengths of its axes.
        centre: x and y of its centre.
        rotation: angle from the x axis to its first axis, radians.
    """

    value: float
    half_axes: tuple[float, float]
    centre: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0

    def contains(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which points lie inside; x and y broadcast."""
        cosine, sine = math.cos(self.rotation), math.sin(self.rotation)
        dx, dy = x - self.centre[0], y - self.centre[1]
        along = (cosine * dx + sine * dy) / self.half_axes[0]
        across = (cosine * dy - sine * dx) / self.half_axes[1]
        inside: NDArray[np.bool_] = along * along + across * across <= 1
        return inside

    def half_extent(self) -> tuple[float, float]:
        """Return half the width of its bounding box along x and along y."""
        cosine, sine = math.cos(self.rotation), math.sin(self.rotation)
        a, b = self.half_axes
        return math.hypot(a * cosine, b * sine), math.hypot(a * sine, b * cosine)


def disc(value: float, radius: float, centre: tuple[float, float] = (0.0, 0.0)) -> Ellipse:
    """Return a uniform disc."""
    return Ellipse(value=value, half_axes=(radius, radius), centre=centre)


def ellipse_image(ellipse: Ellipse, geometry: ParallelBeam) -> NDArray[np.float32]:
    """Draw an ellipse on the pixel grid of a geometry: its value where the pixel centre lies inside, else 0."""
    x, y = geometry.pixel_positions(0)[:, None], geometry.pixel_positions(1)[None, :]
    return (ellipse.value * ellipse.contains(x, y)).astype(np.float32)


def ellipse_sinogram(ellipse: Ellipse, geometry: ParallelBeam) -> NDArray[np.float32]:
    """Compute the exact line integrals of an ellipse at the centres of the detector bins, (angles, detectors)."""
    theta = geometry.angles_rad[:, None]
    a, b = ellipse.half_axes
    shadow = (a * np.cos(theta - ellipse.rotation)) ** 2 + (b * np.sin(theta - ellipse.rotation)) ** 2
    distance = geometry.detector_positions - (ellipse.centre[0] * np.cos(theta) + ellipse.centre[1] * np.sin(theta))
    chord = 2 * a * b * np.sqrt(np.maximum(shadow - distance**2, 0)) / shadow
    sinogram: NDArray[np.float32] = (ellipse.value * chord).astype(np.float32)
    return sinogram


def _add_ellipse(image: NDArray[np.float32], axis: NDArray[np.float64], ellipse: Ellipse) -> None:
    """Add an ellipse to a square image whose pixel centres have the coordinates `axis` along both axes."""
    window = []
    for middle, half in zip(ellipse.centre, ellipse.half_extent(), strict=True):
        first, beyond = np.searchsorted(axis, (middle - half, middle + half))
        window.append(slice(max(int(first) - 1, 0), int(beyond) + 1))
    rows, columns = window
    inside = ellipse.contains(axis[rows, None], axis[None, columns])
    image[rows, columns][inside] += np.float32(ellipse.value)


def _random_ellipses(random: np.random.RandomState) -> list[Ellipse]:
    """Draw the ellipses of one phantom; the order of the draws is part of the benchmark."""
    values = random.uniform(-0.4, 1.0, MAX_ELLIPSES)
    first_axes = 0.2 * random.exponential(1.0, MAX_ELLIPSES)
    second_axes = 0.2 * random.exponential(1.0, MAX_ELLIPSES)
    x = random.uniform(-0.9, 0.9, MAX_ELLIPSES)
    y = random.uniform(-0.9, 0.9, MAX_ELLIPSES)
    rotations = random.uniform(0.0, 2 * math.pi, MAX_ELLIPSES)
    count = min(int(random.poisson(MEAN_ELLIPSES)), MAX_ELLIPSES)
    return [
        Ellipse(
            value=float(values[i]),
            half_axes=(float(first_axes[i]), float(second_axes[i])),
            centre=(float(x[i]), float(y[i])),
            rotation=float(rotations[i]),
        )
        for i in range(count)
    ]


def ellipses_phantoms(split: Split) -> Iterator[NDArray[np.float32]]:
    """Yield the phantoms of DIVal's "ellipses" benchmark for ever: the first 32,000 / 3,200 / 3,200 are its sets.

    Drawn in coordinates where the outermost pixel centres are at -1 and 1; the foreground (pixels not zero) is shifted
    by the minimum of the image, and all is divided by the maximum.

    Yields:
        Image (128, 128), float32, in [0, 1].
    """
    random = np.random.RandomState(ELLIPSES_SEEDS[split])
    axis = np.linspace(-1.0, 1.0, ELLIPSES_SIDE)
    while True:
        image = np.zeros((ELLIPSES_SIDE, ELLIPSES_SIDE), dtype=np.float32)
        for ellipse in _random_ellipses(random):
            _add_ellipse(image, axis, ellipse)
        image[image != 0] -= image.min()
        image /= image.max()
        yield image
