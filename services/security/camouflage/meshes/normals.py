"""Normals at the corners of triangles, smooth where the surface bends gently."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_MOST_AROUND: Final = 32
"""Faces around a vertex above which it is not smoothed, as pairs of faces grow with the square."""


def face_normals(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Normals as long as twice the area of each face, float64 (faces, 3)."""
    first, second, third = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    return np.cross(second - first, third - first)


def corner_normals(vertices: NDArray[np.float32], faces: NDArray[np.int32], crease: float) -> NDArray[np.float32]:
    """Unit normals of corners: the mean of the faces around the vertex, weighted by their area.

    Faces that meet the corner's own at more than the crease have no part in it.

    Args:
        vertices: float32 (vertices, 3).
        faces: int32 (faces, 3).
        crease: degrees.

    Returns:
        float32 (faces, 3, 3).
    """
    weighted = face_normals(vertices, faces)
    units = weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)
    corner, other = _neighbouring_corners(faces.reshape(-1), len(vertices))
    near = np.einsum("ij,ij->i", units[corner // 3], units[other // 3]) >= np.cos(np.radians(crease))
    corner, other = corner[near], other[near]
    summed = np.stack(
        [np.bincount(corner, weighted[other // 3, axis], minlength=faces.size) for axis in range(3)], axis=1
    )
    lengths = np.linalg.norm(summed, axis=1, keepdims=True)
    normals = np.where(lengths > 1e-12, summed / np.maximum(lengths, 1e-12), np.repeat(units, 3, axis=0))
    return normals.reshape(-1, 3, 3).astype(np.float32)


def _neighbouring_corners(vertex_of: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of corners at the same vertex, each with itself too."""
    order = np.argsort(vertex_of, kind="stable")
    around = np.bincount(vertex_of, minlength=count)
    starts = np.concatenate(([0], np.cumsum(around)[:-1]))
    partners = around[vertex_of[order]]
    partners = np.where(partners > _MOST_AROUND, 0, partners)
    first = np.repeat(np.arange(len(order)), partners)
    within = np.arange(len(first)) - np.repeat(np.cumsum(partners) - partners, partners)
    second = starts[vertex_of[order[first]]] + within
    return order[first], order[second]
