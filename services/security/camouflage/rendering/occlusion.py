"""What hides what from the light: depth maps of a mesh, seen along parallel rays.

One map for a direction of the sun gives its shadow; a fixed set over the whole sphere gives the share of sky and of
ground that a point sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.meshes.rasteriser import find_nearest, make_planes

SUN_SIDE: Final = 192
"""Cells along each axis of a map for a direction of the sun."""

SPHERE_SIDE: Final = 80
DIRECTIONS: Final = 64
"""Directions over the sphere, half of them above the horizon."""

_BIAS: Final = 1.5
"""How far a point is lifted off its surface, in cells."""


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """The nearest surface along parallel rays.

    Attributes:
        towards: float64 (3,), unit vector towards the light.
        axes: float64 (2, 3), unit vectors along columns and rows.
        centre: float64 (3,), in the middle of the map.
        cell: metres.
        heights: float32 (side + 2, side + 2), metres along `towards` from the centre; minus infinity where nothing is.
    """

    towards: NDArray[np.float64]
    axes: NDArray[np.float64]
    centre: NDArray[np.float64]
    cell: float
    heights: NDArray[np.float32]

    def visibility(self, positions: NDArray[np.float32], normals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Share of the light that reaches points, float32 (n,) in [0, 1].

        Four cells around each point are compared and weighted (percentage-closer filtering, Reeves et al. 1987).

        Args:
            positions: float32 (n, 3) in metres.
            normals: float32 (n, 3), of unit length; points are lifted along them.
        """
        lifted = positions + normals * np.float32(_BIAS * self.cell)
        basis = np.concatenate((self.axes, self.towards[None])).astype(np.float32)
        seen = (lifted - self.centre.astype(np.float32)) @ basis.T
        side = self.heights.shape[0] - 2
        place = np.clip(seen[:, :2] / np.float32(self.cell) + np.float32(side / 2 + 0.5), 0, side + 0.999)
        whole = place.astype(np.int32)
        part = place - whole
        flat, index = self.heights.reshape(-1), whole[:, 1] * (side + 2) + whole[:, 0]
        level = seen[:, 2]
        lit = [(flat[index + offset] <= level).astype(np.float32) for offset in (0, 1, side + 2, side + 3)]
        upper = lit[0] + (lit[1] - lit[0]) * part[:, 0]
        lower = lit[2] + (lit[3] - lit[2]) * part[:, 0]
        return np.asarray(upper + (lower - upper) * part[:, 1])


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Depth maps of a mesh from all around it."""

    maps: tuple[DepthMap, ...]

    def shares(
        self, positions: NDArray[np.float32], normals: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Shares of sky and of ground, as bright as each is to a surface, that points see; float32 (n,) each.

        Directions are weighted by the cosine to the normal. A share is 1 where nothing hides any.
        """
        seen, whole = np.zeros((2, len(positions)), np.float32), np.zeros((2, len(positions)), np.float32)
        for one in self.maps:
            cosine = np.maximum(normals @ one.towards.astype(np.float32), 0)
            half = 0 if one.towards[2] > 0 else 1
            lit = np.flatnonzero(cosine > 0)
            whole[half, lit] += cosine[lit]
            seen[half, lit] += cosine[lit] * one.visibility(positions[lit], normals[lit])
        shares = np.where(whole > 1e-4, seen / np.maximum(whole, 1e-4), 1)
        return shares[0], shares[1]


def make_depth_map(mesh: Mesh, towards: NDArray[np.float64], side: int = SUN_SIDE) -> DepthMap:
    """The depth map of a mesh for light from a direction, float64 (3,) of unit length towards the light."""
    helper = np.array([1.0, 0.0, 0.0]) if abs(towards[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    first = np.cross(towards, helper)
    first /= np.linalg.norm(first)
    axes = np.stack((first, np.cross(towards, first)))
    centre, cell = mesh.centre.astype(np.float64), 2 * mesh.radius / side
    local = mesh.corners.astype(np.float64) - centre
    points, heights = local @ axes.T / cell + side / 2, local @ towards
    planes = make_planes(points, cull=False)
    _, nearest = find_nearest(points, heights, planes, width=side, height=side)
    return DepthMap(towards, axes, centre, cell, np.pad(nearest.astype(np.float32), 1, constant_values=-np.inf))


@lru_cache(maxsize=8)
def surroundings_of(mesh: Mesh) -> Surroundings:
    """Depth maps of a mesh along directions that are spread evenly over the sphere."""
    return Surroundings(tuple(make_depth_map(mesh, towards, SPHERE_SIDE) for towards in _sphere()))


@lru_cache(maxsize=64)
def sun_map(mesh: Mesh, azimuth: float, elevation: float) -> DepthMap:
    """The depth map of a mesh for a sun at an azimuth and an elevation in degrees."""
    return make_depth_map(mesh, direction_of(azimuth, elevation))


def direction_of(azimuth: float, elevation: float) -> NDArray[np.float64]:
    """Unit vector towards what is seen at an azimuth and an elevation in degrees, float64 (3,)."""
    a, e = np.radians([azimuth, elevation])
    return np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])


def _sphere() -> NDArray[np.float64]:
    """Points of a Fibonacci lattice on the unit sphere, (directions, 3)."""
    index = np.arange(DIRECTIONS) + 0.5
    z = 1 - 2 * index / DIRECTIONS
    angle = np.pi * (1 + np.sqrt(5)) * index
    level = np.sqrt(1 - z**2)
    return np.stack((level * np.cos(angle), level * np.sin(angle), z), axis=1)
