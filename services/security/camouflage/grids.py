"""Conditions that a result is measured under: a grid of views with lights and backgrounds that no step has seen.

Steps draw their cameras, suns and streets anew from ranges; the grid has fixed places in the same ranges, four lights
that are named, and backgrounds of its own. Each view is seen in one light before one background, dealt out so that
every light and every background meets as many views (paper notes, section 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.plan import CamouflagePlan
from services.security.camouflage.rendering.backgrounds import draw_street, fit_background
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.light import Light, make_daylight

ELEVATIONS: Final = 3
"""Of the grid, within the range of the plan."""

DISTANCES: Final = 2
"""Likewise."""

STREETS: Final = 6
"""Streets that are drawn where no backgrounds are posted."""

FIELD_OF_VIEW: Final = 40.0
"""Degrees; at seven metres a car of five fills the picture."""

LIGHTS: Final[dict[str, Light]] = {
    "high sun": make_daylight(20, 62, sky_share=0.25),
    "low sun": make_daylight(110, 14, sky_share=0.3, warmth=0.25, exposure=0.7),
    "sun behind": make_daylight(200, 35, sky_share=0.35, exposure=0.9),
    "overcast": make_daylight(290, 45, sky_share=0.97, warmth=0.0, exposure=0.6),
}
"""By name."""

_FIRST_STREET: Final = 1_700_000_000
"""Seeds of streets begin here, far from those that anything else draws."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One picture of the grid.

    Attributes:
        azimuth, elevation: degrees of the camera.
        distance: metres.
        light: name in `LIGHTS`.
        background: number of it.
    """

    azimuth: float
    elevation: float
    distance: float
    light: str
    background: int

    def camera(self, side: int) -> Camera:
        """The camera of a square picture."""
        return Camera(self.azimuth, self.elevation, self.distance, FIELD_OF_VIEW, side, side)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutBackgrounds:
    """Backgrounds of the grid: posted pictures that no step sees, or streets that are drawn.

    Attributes:
        pictures: uint8 RGB each; none for streets.
        horizon: row of their horizon, as a share of the height.
        seed: of streets.
    """

    pictures: tuple[NDArray[np.uint8], ...] = ()
    horizon: float = 0.5
    seed: int = 0

    def __len__(self) -> int:
        return len(self.pictures) or STREETS

    def see(self, number: int, camera: Camera) -> NDArray[np.float32]:
        """The background of a number before a camera, float32 (height, width, 3), sRGB in [0, 1]."""
        if self.pictures:
            return fit_background(self.pictures[number], self.horizon, camera)
        return draw_street(camera, (_FIRST_STREET + 1009 * self.seed + number) % 2**32)


def make_grid(plan: CamouflagePlan, *, azimuths: int, backgrounds: int) -> list[Condition]:
    """The conditions of a plan, the same for the same plan.

    Args:
        plan: whose ranges of elevations and distances they lie in.
        azimuths: how many there are, evenly around the car; half a step off the front.
        backgrounds: how many there are.
    """
    elevations = _within(plan.views.elevation_degrees, ELEVATIONS)
    distances = _within(plan.views.distance_m, DISTANCES)
    turns = [(number + 0.5) * 360 / azimuths for number in range(azimuths)]
    views = [(turn, up, away) for up in elevations for away in distances for turn in turns]
    rng = np.random.default_rng((plan.seed, len(views), backgrounds))
    lights = rng.permutation(np.arange(len(views)) % len(LIGHTS))
    behind = rng.permutation(np.arange(len(views)) % backgrounds)
    names = list(LIGHTS)
    return [
        Condition(round(turn, 3), round(up, 3), round(away, 3), names[light], int(number))
        for (turn, up, away), light, number in zip(views, lights, behind, strict=True)
    ]


def divide_backgrounds(
    pictures: list[NDArray[np.uint8]],
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Pictures that are learned with, and every fourth, which is measured with; one alone serves for both."""
    if len(pictures) < 2:
        return pictures, pictures
    kept = set(range(1, len(pictures), 4))
    learned = [one for place, one in enumerate(pictures) if place not in kept]
    return learned, [pictures[place] for place in sorted(kept)]


def _within(limits: tuple[float, float], count: int) -> list[float]:
    """Places in a range, half a step from its ends."""
    low, high = limits
    return [low + (high - low) * (number + 0.5) / count for number in range(count)]
