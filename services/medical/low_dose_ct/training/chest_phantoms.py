"""Random chest-like phantoms: training images that no patient has to give.

A body ellipse with a rim of fat, two lungs with vessels, heart, aorta, spine and ribs, all with random sizes, places
and Hounsfield values. Meant as additional training material, not as anatomy.
"""

from __future__ import annotations

import numpy as np

from services.medical.low_dose_ct.attenuation import hu_to_attenuation
from services.medical.low_dose_ct.geometry import LODOPAB
from services.medical.low_dose_ct.phantoms import Ellipse
from services.medical.low_dose_ct.training.data import Image

AIR_HU, FAT_HU, LUNG_HU, MUSCLE_HU, BLOOD_HU, BONE_HU = -1000.0, -100.0, -850.0, 50.0, 120.0, 500.0
RIBS = 14
VESSELS = 60


def random_chest(random: np.random.Generator) -> Image:
    """Draw one phantom.

    Args:
        random: source of its sizes, places and values.

    Returns:
        Normalised attenuation, (362, 362), float32: first axis left-right, second back-front, as in LoDoPaB-CT.
    """
    x, y = LODOPAB.pixel_positions(0)[:, None], LODOPAB.pixel_positions(1)[None, :]
    hu = np.full(LODOPAB.image_shape, AIR_HU)
    for ellipse in _organs(random):
        hu[ellipse.contains(x, y)] = ellipse.value
    return hu_to_attenuation(hu)


def _organs(random: np.random.Generator) -> list[Ellipse]:
    """The organs from the outermost to the innermost; later ones are painted over earlier ones."""
    width, depth = random.uniform(0.10, 0.125), random.uniform(0.075, 0.10)
    rim = random.uniform(0.005, 0.015)
    body = [
        _ellipse(random, FAT_HU, (width + rim, depth + rim), (0.0, 0.0)),
        _ellipse(random, MUSCLE_HU, (width, depth), (0.0, 0.0)),
    ]
    lungs = [
        _ellipse(random, LUNG_HU, (0.36 * width, 0.72 * depth), (side * 0.48 * width, 0.0), tilt=0.2)
        for side in (-1, 1)
    ]
    middle = [
        _ellipse(random, BLOOD_HU, (0.38 * width, 0.33 * depth), (0.1 * width, 0.25 * depth), tilt=0.5),
        _ellipse(random, BLOOD_HU, (0.013, 0.013), (0.12 * width, -0.35 * depth)),
        _ellipse(random, BONE_HU, (0.018, 0.018), (0.0, -0.62 * depth)),
        _ellipse(random, BONE_HU, (0.02, 0.006), (0.0, 0.9 * depth)),
    ]
    return body + _ribs(random, width, depth) + lungs + _vessels(random, width, depth) + middle


def _ribs(random: np.random.Generator, width: float, depth: float) -> list[Ellipse]:
    angles = np.linspace(0, 2 * np.pi, RIBS, endpoint=False) + random.uniform(0, 0.4)
    return [
        _ellipse(
            random,
            BONE_HU,
            (0.009, 0.004),
            (float(0.93 * width * np.cos(angle)), float(0.92 * depth * np.sin(angle))),
            rotation=float(np.arctan2(depth * np.cos(angle), -width * np.sin(angle))),
        )
        for angle in angles
    ]


def _vessels(random: np.random.Generator, width: float, depth: float) -> list[Ellipse]:
    vessels = []
    for _ in range(VESSELS):
        side, radius, angle = random.choice((-1, 1)), np.sqrt(random.uniform(0, 0.8)), random.uniform(0, 2 * np.pi)
        centre = (width * (0.48 * side + 0.33 * radius * np.cos(angle)), 0.66 * depth * radius * np.sin(angle))
        size = random.exponential(0.0012) + 0.0005
        axes = (size * random.uniform(1, 3), size)
        vessels.append(_ellipse(random, MUSCLE_HU, axes, (float(centre[0]), float(centre[1])), tilt=np.pi))
    return vessels


def _ellipse(
    random: np.random.Generator,
    hu: float,
    half_axes: tuple[float, float],
    centre: tuple[float, float],
    *,
    rotation: float = 0.0,
    tilt: float = 0.05,
) -> Ellipse:
    """An ellipse whose value, size and rotation vary around the given ones."""
    scale = random.uniform(0.9, 1.1)
    return Ellipse(
        value=hu + random.normal(0.0, 30.0),
        half_axes=(half_axes[0] * scale, half_axes[1] * scale),
        centre=centre,
        rotation=rotation + random.uniform(-tilt, tilt),
    )
