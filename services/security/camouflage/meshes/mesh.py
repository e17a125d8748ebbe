"""Triangles with the place of each in a texture, and what each is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.normals import corner_normals


class Part(IntEnum):
    """What a face belongs to. Only `BODY` is painted."""

    BODY = 0
    WINDOW = 1
    WHEEL = 2
    LIGHT = 3
    TRIM = 4


CREASE: Final = 40.0
"""Degrees between two faces above which the edge between them looks sharp."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface of triangles, counter-clockwise where seen from outside.

    Attributes:
        vertices: float32 (vertices, 3) in metres.
        faces: int32 (faces, 3), corners of each triangle.
        uv: float32 (faces, 3, 2) in [0, 1], the corners in the texture; v points up, so row 0 of a picture is v = 1.
        parts: int8 (faces,), a `Part` each.
        colours: float32 (faces, 3), sRGB in [0, 1] of faces that are not painted.
        charts: int32 (faces,), the connected region of the texture that a face lies in.
        closed: whether the surface has an inside, so that faces seen from behind are never seen at all.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    uv: NDArray[np.float32]
    parts: NDArray[np.int8]
    colours: NDArray[np.float32]
    charts: NDArray[np.int32]
    closed: bool = True

    def __post_init__(self) -> None:
        """Refuse shapes and indices that do not fit together.

        Raises:
            ValueError: they do not.
        """
        count = len(self.faces)
        expected = {"faces": (count, 3), "uv": (count, 3, 2), "parts": (count,), "colours": (count, 3)}
        expected |= {"charts": (count,), "vertices": (len(self.vertices), 3)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} of a mesh of {count} faces has the shape {getattr(self, name).shape}")
        if count and not 0 <= self.faces.min() <= self.faces.max() < len(self.vertices):
            raise ValueError("a face names a vertex that is not there")

    @cached_property
    def corners(self) -> NDArray[np.float32]:
        """Positions of the corners, float32 (faces, 3, 3)."""
        return self.vertices[self.faces]

    @cached_property
    def normals(self) -> NDArray[np.float32]:
        """Unit normals of the corners, float32 (faces, 3, 3), smooth but across edges sharper than `CREASE`."""
        return corner_normals(self.vertices, self.faces, CREASE)

    @cached_property
    def areas(self) -> NDArray[np.float32]:
        """Surface of each face, float32 (faces,) in square metres."""
        first, second, third = np.moveaxis(self.corners, 1, 0)
        return np.asarray(np.linalg.norm(np.cross(second - first, third - first), axis=1) / 2, np.float32)

    @cached_property
    def uv_areas(self) -> NDArray[np.float32]:
        """Signed area of each face in the texture, float32 (faces,), as a share of the whole texture."""
        first, second, third = np.moveaxis(self.uv, 1, 0)
        along, across = second - first, third - first
        return np.asarray((along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]) / 2)

    @cached_property
    def paintable(self) -> NDArray[np.bool_]:
        """Which faces are painted, bool (faces,)."""
        return np.asarray(self.parts == Part.BODY)

    @cached_property
    def surfaces(self) -> NDArray[np.int32]:
        """Number of the surface of each face, int32 (faces,): alike in chart, part and colour."""
        levels = np.round(self.colours * 255).astype(np.int64)
        keys = np.column_stack((self.charts.astype(np.int64), self.parts.astype(np.int64), levels))
        return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int32)

    @cached_property
    def bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Least and greatest coordinates, float32 (3,) each."""
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    @property
    def centre(self) -> NDArray[np.float32]:
        """Middle of the bounds, float32 (3,)."""
        return np.asarray((self.bounds[0] + self.bounds[1]) / 2, np.float32)

    @cached_property
    def radius(self) -> float:
        """Metres from the centre to the farthest vertex."""
        return float(np.linalg.norm(self.vertices - self.centre, axis=1).max())
