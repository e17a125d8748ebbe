"""What lies where in a texture: which face, how much surface, what is painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.meshes.rasteriser import find_all


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
    found, counts = np.full(height * width, -1, np.int32), np.zeros(height * width, np.int64)
    for face, row, column in find_all(_in_texels(mesh.uv, height, width), width=width, height=height):
        texel = row * width + column
        counts += np.bincount(texel, minlength=height * width)
        found[texel] = face
    return found.reshape(height, width), counts.reshape(height, width).astype(np.int32)


def overlapping_faces(uv: NDArray[np.float32], height: int, width: int) -> NDArray[np.int64]:
    """Faces that share the middle of a texel with another; uv is float32 (faces, 3, 2)."""
    places = _in_texels(uv, height, width)
    pairs = [(face, row * width + column) for face, row, column in find_all(places, width=width, height=height)]
    if not pairs:
        return np.zeros(0, np.int64)
    faces, texels = (np.concatenate(one) for one in zip(*pairs, strict=True))
    return np.unique(faces[np.bincount(texels)[texels] > 1])


def _in_texels(uv: NDArray[np.float32], height: int, width: int) -> NDArray[np.float64]:
    return np.stack((uv[..., 0] * width, (1 - uv[..., 1]) * height), axis=-1).astype(np.float64)


def _widened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask with the eight texels around each of its own."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    shifts = [padded[row : row + height, column : column + width] for row in range(3) for column in range(3)]
    return np.asarray(np.logical_or.reduce(shifts))
