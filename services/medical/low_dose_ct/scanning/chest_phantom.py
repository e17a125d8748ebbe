"""A random chest made of ellipses, in Hounsfield units: for demonstrations and for training without patient data.

Lengths are shares of half the drawing's side, x to the right and y down as DICOM orders rows: the breastbone is at the
top, the spine at the bottom. Tissue values are textbook ranges; texture and vessels keep the lungs and soft tissue from
being piecewise constant. It looks like a chest and is nobody's.
"""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from services.medical.low_dose_ct.scanning.phantoms import Ellipse

AIR_HU = -1000.0

BODY_SHARE = 0.86
"""Share of the picture's side that the drawing fills, so that the body stays inside LoDoPaB-CT's crop."""

Picture = NDArray[np.float32]


class _Canvas:
    """A picture in Hounsfield units on which later ellipses cover earlier ones."""

    def __init__(self, size: int) -> None:
        self.axis: NDArray[np.float64] = (np.arange(size, dtype=np.float64) - (size - 1) / 2) * (
            2 / (size * BODY_SHARE)
        )
        self.hu = np.full((size, size), AIR_HU, dtype=np.float32)

    def mask(self, ellipse: Ellipse) -> NDArray[np.bool_]:
        """Pixels inside an ellipse whose centre and axes are given as x (right) and y (down)."""
        return ellipse.contains(self.axis[None, :], self.axis[:, None])

    def cover(self, ellipse: Ellipse, *, only: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Set the pixels of an ellipse, or those of them that are also in `only`, to its value; return which."""
        inside = self.mask(ellipse) if only is None else self.mask(ellipse) & only
        self.hu[inside] = ellipse.value
        return inside


def _texture(random: np.random.Generator, size: int, *, grain: float, deviation: float) -> Picture:
    """Return smooth random variation of a given grain (in pixels) and standard deviation."""
    field = scipy.ndimage.gaussian_filter(random.standard_normal((size, size), dtype=np.float32), grain)
    scaled: Picture = (field * (deviation / field.std())).astype(np.float32)
    return scaled


def _draw_lungs(canvas: _Canvas, random: np.random.Generator) -> NDArray[np.bool_]:
    """Draw both lungs with vessels and up to four nodules; return their pixels."""
    lungs = np.zeros_like(canvas.hu, dtype=bool)
    density = random.uniform(-880, -800)
    for side in (-1, 1):
        lung = Ellipse(
            value=density,
            half_axes=(random.uniform(0.24, 0.28), random.uniform(0.36, 0.42)),
            centre=(side * random.uniform(0.36, 0.40), random.uniform(-0.05, 0.03)),
            rotation=side * random.uniform(0.0, 0.25),
        )
        lungs |= canvas.cover(lung)
    for _ in range(int(random.integers(60, 120))):
        radius = random.exponential(0.008) + 0.004
        stretch = random.uniform(1.0, 5.0)
        vessel = Ellipse(
            value=random.uniform(-500, 40),
            half_axes=(radius * stretch, radius),
            centre=(random.uniform(-0.65, 0.65), random.uniform(-0.4, 0.4)),
            rotation=random.uniform(0, math.pi),
        )
        canvas.cover(vessel, only=lungs)
    for _ in range(int(random.integers(0, 5))):
        radius = random.uniform(0.012, 0.06)
        nodule = Ellipse(
            value=random.uniform(-100, 120),
            half_axes=(radius, radius * random.uniform(0.7, 1.0)),
            centre=(random.choice((-1, 1)) * random.uniform(0.25, 0.5), random.uniform(-0.3, 0.3)),
            rotation=random.uniform(0, math.pi),
        )
        canvas.cover(nodule, only=lungs)
    return lungs


def _draw_mediastinum(canvas: _Canvas, random: np.random.Generator) -> None:
    """Draw heart, aorta and windpipe; the blood is bright in the half of the scans that have contrast agent."""
    blood = random.uniform(150, 300) if random.random() < 0.5 else random.uniform(35, 50)
    heart = Ellipse(
        value=random.uniform(35, 55),
        half_axes=(random.uniform(0.20, 0.28), random.uniform(0.16, 0.24)),
        centre=(random.uniform(0.02, 0.12), random.uniform(-0.2, -0.08)),
        rotation=random.uniform(0.2, 0.7),
    )
    canvas.cover(heart)
    chamber = Ellipse(blood, (0.55 * heart.half_axes[0], 0.5 * heart.half_axes[1]), heart.centre, heart.rotation)
    canvas.cover(chamber)
    canvas.cover(Ellipse(blood, (0.055, 0.055), (random.uniform(0.07, 0.13), random.uniform(0.22, 0.28))))
    canvas.cover(Ellipse(AIR_HU, (0.035, 0.03), (random.uniform(-0.03, 0.03), random.uniform(0.1, 0.16))))


def _draw_bones(canvas: _Canvas, random: np.random.Generator, wall: Ellipse) -> None:
    """Draw spine, breastbone and a ring of ribs along the inside of the chest wall."""
    spongy, cortical = random.uniform(120, 260), random.uniform(500, 1100)
    spine_y = wall.centre[1] + wall.half_axes[1] * random.uniform(0.60, 0.64)
    for value, scale in ((cortical, 1.0), (spongy, 0.85)):
        canvas.cover(Ellipse(value, (0.12 * scale, 0.09 * scale), (0.0, spine_y)))
    canvas.cover(Ellipse(cortical, (0.07, 0.055), (0.0, spine_y + 0.115)))
    canvas.cover(Ellipse(30.0, (0.04, 0.035), (0.0, spine_y + 0.1)))
    canvas.cover(Ellipse(spongy + 100, (0.08, 0.025), (0.0, wall.centre[1] - 0.9 * wall.half_axes[1])))
    count = int(random.integers(9, 14))
    for turn in (np.arange(count) + random.uniform(0.2, 0.8)) * (2 * math.pi / count):
        x, y = 0.93 * wall.half_axes[0] * math.cos(turn), 0.93 * wall.half_axes[1] * math.sin(turn)
        if abs(x) < 0.15:
            continue
        length = random.uniform(0.03, 0.09)
        tangent = math.atan2(wall.half_axes[1] * math.cos(turn), -wall.half_axes[0] * math.sin(turn))
        centre = (wall.centre[0] + x, wall.centre[1] + y)
        canvas.cover(Ellipse(cortical, (length, 0.022), centre, tangent))
        canvas.cover(Ellipse(spongy, (length - 0.012, 0.011), centre, tangent))


def chest_phantom(random: np.random.Generator, *, size: int = 512) -> NDArray[np.float32]:
    """Draw an axial slice of a random chest.

    Args:
        random: source of all shapes, values and textures; the same state draws the same chest.
        size: pixels per side.

    Returns:
        Hounsfield units, float32, (size, size), rows from front to back as in DICOM, within [-1024, 3071].

    Raises:
        ValueError: `size` is less than 32.
    """
    if size < 32:
        raise ValueError(f"size must be at least 32 pixels, got {size}")
    canvas = _Canvas(size)
    width, depth = random.uniform(0.74, 0.82), random.uniform(0.52, 0.6)
    fat = random.uniform(0.02, 0.06)
    body = canvas.cover(Ellipse(random.uniform(-115, -85), (width, depth)))
    wall = Ellipse(random.uniform(40, 60), (width - fat, depth - fat), (0.0, random.uniform(-0.01, 0.01)))
    canvas.cover(wall)
    _draw_bones(canvas, random, wall)
    lungs = _draw_lungs(canvas, random)
    _draw_mediastinum(canvas, random)
    canvas.hu += _texture(random, size, grain=size / 170, deviation=random.uniform(3, 8)) * body
    canvas.hu += _texture(random, size, grain=size / 400, deviation=random.uniform(10, 30)) * lungs
    blurred: Picture = scipy.ndimage.gaussian_filter(canvas.hu, random.uniform(0.4, 0.9) * size / 512)
    return np.clip(blurred, -1024.0, 3071.0)
