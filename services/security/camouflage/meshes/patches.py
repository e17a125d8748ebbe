"""Meshes out of grids of points: each grid is one chart of the texture, and grids meet where their points are equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.atlas import pack_charts
from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.meshes.topology import weld

_EQUAL = 1e-5
"""Metres by which diagonals differ that count as equal."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A grid of points, seen from outside with columns to the right and rows upwards.

    Attributes:
        points: float64 (rows, columns, 3) in metres.
        uv: float64 (rows, columns, 2) in metres along the surface, counter-clockwise as the points.
        parts: int8 (rows - 1, columns - 1), of its cells.
        colours: float32 (rows - 1, columns - 1, 3), sRGB of its cells.
        scale: size in the texture for its size in metres, beside other patches.
    """

    points: NDArray[np.float64]
    uv: NDArray[np.float64]
    parts: NDArray[np.int8]
    colours: NDArray[np.float32]
    scale: float = 1.0


def join_patches(patches: Sequence[Patch]) -> Mesh:
    """One mesh of all patches, each a chart of its own in a common texture."""
    corners, uv, parts, colours, charts = [], [], [], [], []
    for index, patch in enumerate(patches):
        points, places = _triangles(patch.points, patch.points), _triangles(patch.points, patch.uv)
        corners.append(points)
        uv.append(places * patch.scale)
        parts.append(np.repeat(patch.parts.reshape(-1), 2))
        colours.append(np.repeat(patch.colours.reshape(-1, 3), 2, axis=0))
        charts.append(np.full(len(points), index, dtype=np.int32))
    points = np.concatenate(corners).reshape(-1, 3)
    vertices, faces = weld(points, np.arange(len(points), dtype=np.int32).reshape(-1, 3))
    flat = (faces == np.roll(faces, 1, axis=1)).any(axis=1)
    chart = np.concatenate(charts)[~flat]
    return Mesh(
        vertices,
        faces[~flat],
        pack_charts(np.concatenate(uv)[~flat], chart),
        np.concatenate(parts)[~flat],
        np.concatenate(colours)[~flat],
        chart,
    )


def mirror_patch(patch: Patch) -> Patch:
    """The same on the other side of the plane y = 0, still seen from outside."""
    mirrored = patch.points[:, ::-1] * np.array([1.0, -1.0, 1.0])
    uv = patch.uv[:, ::-1] * np.array([-1.0, 1.0])
    return Patch(mirrored, uv, patch.parts[:, ::-1], patch.colours[:, ::-1], patch.scale)


def _triangles(points: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values at the corners of two triangles a cell, cut along the shorter diagonal; (cells * 2, 3, n)."""
    lower_left, lower_right = values[:-1, :-1], values[:-1, 1:]
    upper_left, upper_right = values[1:, :-1], values[1:, 1:]
    rising = np.stack([lower_left, lower_right, upper_right, lower_left, upper_right, upper_left], axis=2)
    falling = np.stack([lower_left, lower_right, upper_left, lower_right, upper_right, upper_left], axis=2)
    up = np.linalg.norm(points[1:, 1:] - points[:-1, :-1], axis=-1)
    down = np.linalg.norm(points[1:, :-1] - points[:-1, 1:], axis=-1)
    chosen = np.where((up <= down + _EQUAL)[..., None, None], rising, falling)
    return chosen.reshape(-1, 3, values.shape[-1])
