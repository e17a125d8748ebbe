"""Surfaces whose pictures can be computed by hand."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.meshes.unwrapping import unwrap_by_box


def make_mesh(vertices: NDArray[np.floating], faces: NDArray[np.integer], *, closed: bool = True) -> Mesh:
    """A mesh of paint, unwrapped by box."""
    points, corners = vertices.astype(np.float32), faces.astype(np.int32)
    uv, charts = unwrap_by_box(points, corners)
    parts, colours = np.zeros(len(corners), np.int8), np.full((len(corners), 3), 0.5, np.float32)
    return Mesh(points, corners, uv, parts, colours, charts, closed)


def make_box(size: tuple[float, float, float] = (2.0, 2.0, 2.0), height: float = 0.0) -> Mesh:
    """A box that stands at a height above the ground, its middle above the origin."""
    x, y, z = np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [0.0, 1.0], indexing="ij")
    vertices = np.stack((x, y, z), axis=-1).reshape(-1, 3) * size + [0, 0, height]
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return make_mesh(vertices, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]))


@cache
def make_sphere(radius: float = 1.0, rounds: int = 4) -> Mesh:
    """A sphere of subdivided faces of an octahedron, standing on the ground."""
    vertices = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float64)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    for _ in range(rounds):
        corners = vertices[faces]
        middles = (corners + np.roll(corners, -1, axis=1)) / 2
        middles /= np.linalg.norm(middles, axis=2, keepdims=True)
        points = np.concatenate((corners, middles), axis=1)
        pieces = np.concatenate([points[:, one] for one in ([0, 3, 5], [3, 1, 4], [5, 4, 2], [3, 4, 5])])
        vertices, inverse = np.unique(np.round(pieces.reshape(-1, 3), 9), axis=0, return_inverse=True)
        faces = inverse.reshape(-1, 3)
    return make_mesh(vertices * radius + [0, 0, radius], faces)


def make_wall(side: float = 2.0) -> Mesh:
    """A square that faces x, its lower edge on the ground; the texture fills it, as it is seen from the front."""
    half = side / 2
    vertices = np.array([[0, -half, 0], [0, half, 0], [0, half, side], [0, -half, side]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    uv = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], np.float32)
    nothing = np.zeros(2, np.int32)
    return Mesh(vertices, faces, uv, nothing.astype(np.int8), np.zeros((2, 3), np.float32), nothing, closed=False)
