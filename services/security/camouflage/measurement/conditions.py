"""Views, lights and backgrounds that a texture is made under, and others that it is measured under.

A result counts where nothing of it was seen while the texture was made (fact sheet, section 8). So the ranges of both
are apart: cameras by azimuth, lights by the height of the sun, the share of the sky and the exposure, drawn streets by
their seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.planning.plan import Views
from services.security.camouflage.rendering.backgrounds import draw_street, fit_background
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.light import MATERIALS, Light, Material, Materials, make_daylight

Floats = NDArray[np.float32]

FIELD_OF_VIEW: Final = 45.0
"""Degrees; a car of common size fits at the least distance of a plan's default."""
AZIMUTH_STEP: Final = 15.0
"""Degrees between the azimuths of the test grid."""
_APART: Final = 2.5
"""Degrees by which a training azimuth differs from all of the test grid at least."""

SUN_ELEVATIONS: Final = (25.0, 65.0)
SKY_SHARES: Final = (0.2, 0.7)
EXPOSURES: Final = (0.55, 1.0)
WARMTHS: Final = (0.0, 0.15)
ROUGHNESSES: Final = (0.2, 0.5)
"""Of the paint; shinier and duller ones are left to tests."""

TRAINING_STREETS: Final = (0, 100_000)
"""Seeds of streets drawn for training, the last excluded."""
TEST_STREETS: Final = (1_000_000, 1_000_020)
"""Seeds of streets drawn for tests, the last excluded."""


class Backgrounds(Protocol):
    """Pictures that cars are put in front of."""

    def draw(self, camera: Camera, rng: np.random.Generator) -> Floats:
        """One for a camera, float32 (height, width, 3), sRGB in [0, 1]; the generator decides which."""


@dataclass(frozen=True, slots=True)
class Streets:
    """Drawn streets.

    Attributes:
        seeds: first and last of them, the last excluded.
    """

    seeds: tuple[int, int] = TRAINING_STREETS

    def draw(self, camera: Camera, rng: np.random.Generator) -> Floats:
        """As `Backgrounds` says."""
        return draw_street(camera, int(rng.integers(*self.seeds)))


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Pictures of a user's, or frames of a simulator: cut so that horizons meet, mirrored half of the time.

    Attributes:
        pictures: uint8 RGB (height, width, 3) each, at least one.
        horizon: row of their horizon, as a share of their height.
    """

    pictures: Sequence[NDArray[np.uint8]]
    horizon: float = 0.45

    def draw(self, camera: Camera, rng: np.random.Generator) -> Floats:
        """As `Backgrounds` says."""
        picture = self.pictures[int(rng.integers(len(self.pictures)))]
        zoom, mirrored = float(rng.uniform(1.0, 1.4)), bool(rng.random() < 0.5)
        return fit_background(picture[:, ::-1] if mirrored else picture, self.horizon, camera, zoom=zoom)


def draw_camera(views: Views, rng: np.random.Generator) -> Camera:
    """A camera to train with: anywhere in the ranges, but never at an azimuth of the test grid."""
    count = round(360 / AZIMUTH_STEP)
    azimuth = AZIMUTH_STEP * int(rng.integers(count)) + rng.uniform(_APART, AZIMUTH_STEP - _APART)
    shift = (float(rng.uniform(-0.06, 0.06)), float(rng.uniform(-0.04, 0.04)))
    elevation, distance = float(rng.uniform(*views.elevation_degrees)), float(rng.uniform(*views.distance_m))
    return _camera(views.side, float(azimuth), elevation, distance, shift)


def draw_sun(rng: np.random.Generator) -> tuple[float, float]:
    """Azimuth and elevation in degrees of a sun to train with."""
    return float(rng.uniform(0, 360)), float(rng.uniform(*SUN_ELEVATIONS))


def draw_light(sun: tuple[float, float], rng: np.random.Generator) -> Light:
    """A light to train with, by a sun of `draw_sun`."""
    return make_daylight(
        *sun,
        sky_share=float(rng.uniform(*SKY_SHARES)),
        warmth=float(rng.uniform(*WARMTHS)),
        exposure=float(rng.uniform(*EXPOSURES)),
    )


def draw_materials(rng: np.random.Generator) -> Materials:
    """Materials to train with: those of cars, the paint's roughness drawn."""
    return MATERIALS | {Part.BODY: Material(float(rng.uniform(*ROUGHNESSES)))}


TEST_LIGHTS: Final[dict[str, tuple[Light, Material]]] = {
    "low sun": (make_daylight(110, 12, sky_share=0.35, warmth=0.3, exposure=0.6), Material(0.3)),
    "high sun": (make_daylight(230, 78, sky_share=0.15, warmth=0.0, exposure=1.05), Material(0.15)),
    "overcast": (make_daylight(20, 45, sky_share=0.95, warmth=0.0, exposure=0.7), Material(0.6)),
    "dusk": (make_daylight(320, 15, sky_share=0.85, warmth=0.2, exposure=0.3), Material(0.3)),
}
"""Lights to measure with, each with the paint it shines on; out of the ranges of training."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A picture to measure with.

    Attributes:
        camera: that takes it.
        light: a key of `TEST_LIGHTS`.
        background: a number; which picture it stands for is up to the set of backgrounds that tests use.
    """

    camera: Camera
    light: str
    background: int


def make_test_grid(
    views: Views,
    *,
    azimuth_step: float = AZIMUTH_STEP,
    elevations: Sequence[float] | None = None,
    distances: Sequence[float] | None = None,
    lights: Sequence[str] = tuple(TEST_LIGHTS),
    backgrounds: int = TEST_STREETS[1] - TEST_STREETS[0],
) -> list[Condition]:
    """All azimuths, elevations, distances and lights; backgrounds are taken in turn.

    Args:
        views: of the plan, for ranges and size.
        azimuth_step: degrees, a multiple of 15: others meet azimuths of training.
        elevations: degrees; both ends and the middle of the plan's range and one above it by default.
        distances: metres; both ends and the middle of the plan's range by default.
        lights: keys of `TEST_LIGHTS`.
        backgrounds: how many.

    Raises:
        ValueError: the step is no multiple of 15 degrees or does not divide the circle.
    """
    if azimuth_step % AZIMUTH_STEP or 360 % azimuth_step:
        raise ValueError(f"azimuths of tests are multiples of {AZIMUTH_STEP:.0f} degrees")
    low, high = views.elevation_degrees
    near, far = views.distance_m
    heights = elevations or (low, (low + high) / 2, high, min(high + 15, 60))
    aways = distances or (near, (near + far) / 2, far)
    azimuths = np.arange(0, 360, azimuth_step)
    cameras = [_camera(views.side, float(a), e, d, (0, 0)) for a, e, d in product(azimuths, heights, aways)]
    cases = product(cameras, lights)
    return [Condition(camera, light, index % backgrounds) for index, (camera, light) in enumerate(cases)]


def _camera(side: int, azimuth: float, elevation: float, distance: float, shift: tuple[float, float]) -> Camera:
    return Camera(azimuth, elevation, distance, FIELD_OF_VIEW, side, side, shift=shift)
