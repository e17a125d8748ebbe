"""What lies where in a texture: which face, how much surface, what is painted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Mesh

_CHUNK: Final = 500_000
"""About as many pairs of a face and a texel are looked at together."""


@dataclass(frozen=True, slots=True, eq=False)
class AtlasMaps:
    """A texture of height x width texels over a mesh.

    Attributes:
        faces: int32 (height, width), the face in the middle of a texel, -1 where there is none.
        painted: bool (height, width), texels in whose middle a painted face lies.
        mask: bool (height, width), the same and those beside them, which bilinear sampling reaches.
        areas: float32 (height, width), painted surface of a texel in square metres, zero elsewhere.
    """

    faces: NDArray[np.int32]
    painted: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    areas: NDArray[np.float32]


def map_atlas(mesh: Mesh, height: int, width: int) -> AtlasMaps:
    """The maps of a texture; row 0 is at v = 1."""
    faces = draw_atlas(mesh, height, width)[0]
    painted = (faces >= 0) & mesh.paintable[faces]
    per_texel = mesh.areas / np.maximum(np.abs(mesh.uv_areas), 1e-12) / (height * width)
    areas = np.where(painted, per_texel[faces], 0).astype(np.float32)
    return AtlasMaps(faces, painted, _widened(painted), areas)


def draw_atlas(mesh: Mesh, height: int, width: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Faces in the middles of texels, int32 (height, width), -1 for none, and how many lie there, int32 likewise."""
    found, counts = np.full((height, width), -1, np.int32), np.zeros((height, width), np.int32)
    face, row, column = _covered(_in_texels(mesh.uv, height, width), height, width)
    np.add.at(counts, (row, column), 1)
    found[row, column] = face
    return found, counts


def overlapping_faces(uv: NDArray[np.float32], height: int, width: int) -> NDArray[np.int64]:
    """Faces that share the middle of a texel with another; uv is float32 (faces, 3, 2)."""
    face, row, column = _covered(_in_texels(uv, height, width), height, width)
    texel = row * width + column
    return np.unique(face[np.bincount(texel, minlength=1)[texel] > 1])


def _in_texels(uv: NDArray[np.float32], height: int, width: int) -> NDArray[np.float64]:
    return np.stack((uv[..., 0] * width, (1 - uv[..., 1]) * height), axis=-1).astype(np.float64)


def _covered(
    points: NDArray[np.float64], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Faces, rows and columns of all texels whose middle lies inside a face; on an edge it may lie in both or none."""
    low = np.maximum(np.floor(points.min(axis=1)), 0).astype(np.int64)
    high = np.minimum(np.ceil(points.max(axis=1)), [width, height]).astype(np.int64)
    size = np.maximum(high - low, 0)
    reached = np.cumsum(size[:, 0] * size[:, 1])
    bounds = np.searchsorted(reached, np.arange(0, reached[-1] + _CHUNK, _CHUNK), side="right")
    parts = [
        _covered_by(points, low, size, np.arange(start, stop))
        for start, stop in zip([0, *bounds], [*bounds, len(points)], strict=True)
        if stop > start
    ]
    face, row, column = (np.concatenate(one) for one in zip(*parts, strict=True))
    return face, row, column


def _covered_by(
    points: NDArray[np.float64], low: NDArray[np.int64], size: NDArray[np.int64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The same of some faces, out of the texels of the boxes around them."""
    counts = size[faces].prod(axis=1)
    face = np.repeat(faces, counts)
    within = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    column = low[face, 0] + within % np.maximum(size[face, 0], 1)
    row = low[face, 1] + within // np.maximum(size[face, 0], 1)
    place = np.stack((column, row), axis=1) + 0.5
    sides = [_side_of(points[face, one], points[face, other], place) for one, other in ((0, 1), (1, 2), (2, 0))]
    inside = np.logical_or(np.all([one > 0 for one in sides], axis=0), np.all([one < 0 for one in sides], axis=0))
    return face[inside], row[inside], column[inside]


def _side_of(start: NDArray[np.float64], end: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.float64]:
    along, away = end - start, place - start
    return np.asarray(along[:, 0] * away[:, 1] - along[:, 1] * away[:, 0])


def _widened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask with the eight texels around each of its own."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    shifts = [padded[row : row + height, column : column + width] for row in range(3) for column in range(3)]
    return np.asarray(np.logical_or.reduce(shifts))
