"""The ground around a car: where it lies on a picture, and how much of its light the car takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.rendering.light import Light
from services.security.camouflage.rendering.occlusion import sun_map, surroundings_of
from services.security.camouflage.rendering.views import View

Floats = NDArray[np.float32]

_SUN_REACH: Final = 5.0
"""Distance from the mesh's centre, in its radii, beyond which no shadow of the sun is looked for."""

_SKY_REACH: Final = 1.5
"""The same for the sky, which a mesh hardly hides from what is farther away."""


@dataclass(frozen=True, slots=True, eq=False)
class GroundView:
    """Pixels that show ground near the car.

    Attributes:
        size: height and width of the picture.
        pixels: int64 (n,), row * width + column.
        positions: float32 (n, 3) in metres.
        sky: float32 (n,), share of the sky's light that gets there.
    """

    size: tuple[int, int]
    pixels: NDArray[np.int64]
    positions: Floats
    sky: Floats


def see_ground(view: View) -> GroundView:
    """The ground z = 0 that the camera of a view sees beside the mesh, as far as it may be darker for it."""
    camera, mesh = view.camera, view.mesh
    free = np.flatnonzero(view.coverage.reshape(-1) < 1)
    places = np.stack((free % camera.width, free // camera.width), axis=1).astype(np.float64) + 0.5
    rays = camera.rays(places)
    down = rays[:, 2] < -1e-4
    free, rays = free[down], rays[down]
    positions = camera.position - rays * (camera.position[2] / rays[:, 2])[:, None]
    near = np.linalg.norm(positions - mesh.centre, axis=1) < _SUN_REACH * mesh.radius
    positions = positions[near].astype(np.float32)
    close = np.linalg.norm(positions - mesh.centre, axis=1) < _SKY_REACH * mesh.radius
    sky = np.ones(len(positions), np.float32)
    sky[close] = surroundings_of(mesh).shares(positions[close], _upwards(int(close.sum())))[0]
    return GroundView((camera.height, camera.width), free[near], positions, sky)


def light_ground(ground: GroundView, mesh: Mesh, light: Light) -> Floats:
    """Light on the ground beside the car for light without it, float32 (height, width, 3) in [0, 1]."""
    # The ground is not on the map, so that its points need not be lifted off themselves.
    unlifted = np.zeros_like(ground.positions)
    sunlit = sun_map(mesh, light.azimuth, light.elevation).visibility(ground.positions, unlifted)
    height = np.sin(np.radians(light.elevation))
    sun, sky = np.array(light.sun, np.float32) * np.float32(height), np.pi * np.array(light.sky, np.float32)
    shares = np.ones((ground.size[0] * ground.size[1], 3), np.float32)
    shares[ground.pixels] = (sunlit[:, None] * sun + ground.sky[:, None] * sky) / (sun + sky)
    return shares.reshape(*ground.size, 3)


def _upwards(count: int) -> Floats:
    return np.broadcast_to(np.array([0, 0, 1], np.float32), (count, 3))
