"""A pinhole camera that looks at a car."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """Where a picture is taken from, and how large it is.

    Attributes:
        azimuth: degrees around the car, 0 in front of it, 90 on its left.
        elevation: degrees above the horizon, below 90.
        distance: metres to the target.
        field_of_view: degrees between the upper and the lower edge of the picture.
        width: pixels.
        height: pixels.
        target: metres, the point looked at.
        shift: where the target lies off the middle, as shares of width (to the right) and height (downwards).
    """

    azimuth: float
    elevation: float
    distance: float
    field_of_view: float = 30.0
    width: int = 128
    height: int = 128
    target: tuple[float, float, float] = (0.0, 0.0, 0.7)
    shift: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Refuse what no picture can be taken with.

        Raises:
            ValueError: straight from above, no distance, or no angle.
        """
        if not abs(self.elevation) <= 89 or self.distance <= 0 or not 0 < self.field_of_view < 170:
            raise ValueError("an elevation is below 90 degrees, a distance positive, a field of view 0 to 170 degrees")

    @cached_property
    def position(self) -> Floats:
        """Metres, float64 (3,)."""
        azimuth, elevation = np.radians([self.azimuth, self.elevation])
        level = np.cos(elevation)
        away = np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])
        return np.array(self.target) + self.distance * away

    @cached_property
    def axes(self) -> Floats:
        """Unit vectors to the right, upwards and forwards, float64 (3, 3)."""
        forward = (np.array(self.target) - self.position) / self.distance
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        return np.stack((right, np.cross(right, forward), forward))

    @property
    def focal_length(self) -> float:
        """In pixels."""
        return self.height / 2 / float(np.tan(np.radians(self.field_of_view) / 2))

    @property
    def principal_point(self) -> Floats:
        """The pixel that the target is seen at, x and y; (0, 0) is the upper left corner of the picture."""
        return np.array([self.width * (0.5 + self.shift[0]), self.height * (0.5 + self.shift[1])])

    @property
    def horizon(self) -> float:
        """Row of the horizon in pixels; outside of [0, height] where it is not seen."""
        return float(self.principal_point[1] - self.focal_length * np.tan(np.radians(self.elevation)))

    def project(self, points: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Pixels (n, 2) and depths in metres (n,) of points (n, 3)."""
        seen = (points - self.position) @ self.axes.T
        depth = seen[..., 2]
        plane = np.stack((seen[..., 0], -seen[..., 1]), axis=-1)
        return self.principal_point + self.focal_length * plane / depth[..., None], depth

    def rays(self, pixels: Floats) -> Floats:
        """Directions (n, 3), not of unit length: one metre of depth each, through pixels (n, 2)."""
        offset = (pixels - self.principal_point) / self.focal_length
        right, up, forward = self.axes
        return np.asarray(offset[:, :1] * right - offset[:, 1:] * up + forward)
