"""Conditions that a result is measured under: the test grid, dealt out so that a job has time for it.

The whole grid crosses views with lights and backgrounds. Here each view is seen in one light before one background, so
that every light and every background meets as many views; ranges and lights are those of `conditions`, which no step
has seen (paper notes, section 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.measurement.conditions import TEST_LIGHTS, TEST_STREETS, Condition, make_test_grid
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.rendering.backgrounds import draw_street, fit_background
from services.security.camouflage.rendering.camera import Camera

ELEVATIONS: Final = 3
"""Of the grid: both ends and the middle of the plan's range."""

DISTANCES: Final = 2
"""Of the grid: within the plan's range, a quarter from its ends."""

STREETS: Final = 6
"""Streets that are drawn where no backgrounds are posted."""

KEPT: Final = 4
"""Of so many posted backgrounds one is kept for measuring."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutBackgrounds:
    """Backgrounds of the grid: posted pictures that no step sees, or streets that are drawn.

    Attributes:
        pictures: uint8 RGB each; none for streets.
        horizon: row of their horizon, as a share of the height.
    """

    pictures: tuple[NDArray[np.uint8], ...] = ()
    horizon: float = 0.5

    def __len__(self) -> int:
        return len(self.pictures) or STREETS

    def see(self, number: int, camera: Camera) -> NDArray[np.float32]:
        """The background of a number before a camera, float32 (height, width, 3), sRGB in [0, 1]."""
        if self.pictures:
            return fit_background(self.pictures[number], self.horizon, camera)
        return draw_street(camera, TEST_STREETS[0] + number)


def deal_grid(plan: CamouflagePlan, *, azimuths: int, backgrounds: int) -> list[Condition]:
    """The conditions of a plan, the same for the same plan.

    Args:
        plan: whose ranges of elevations and distances they lie in.
        azimuths: how many there are, evenly around the car; 24 or a divisor of it.
        backgrounds: how many there are.

    Raises:
        ValueError: the azimuths are not on the test grid.
    """
    low, high = plan.views.elevation_degrees
    near, far = plan.views.distance_m
    views = make_test_grid(
        plan.views,
        azimuth_step=360 / azimuths,
        elevations=(low, (low + high) / 2, high),
        distances=(near + (far - near) / 4, far - (far - near) / 4),
        lights=list(TEST_LIGHTS)[:1],
        backgrounds=1,
    )
    rng = np.random.default_rng((plan.seed, len(views), backgrounds))
    lights = rng.permutation(np.arange(len(views)) % len(TEST_LIGHTS))
    behind = rng.permutation(np.arange(len(views)) % backgrounds)
    names = list(TEST_LIGHTS)
    return [
        Condition(view.camera, names[light], int(number))
        for view, light, number in zip(views, lights, behind, strict=True)
    ]


def divide_backgrounds(
    pictures: list[NDArray[np.uint8]],
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Pictures that are learned with, and every fourth, which is measured with; one alone serves for both."""
    if len(pictures) < 2:
        return pictures, pictures
    kept = set(range(1, len(pictures), KEPT))
    learned = [one for place, one in enumerate(pictures) if place not in kept]
    return learned, [pictures[place] for place in sorted(kept)]
