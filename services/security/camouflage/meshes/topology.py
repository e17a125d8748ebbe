"""How triangles hang together: equal points, closed surfaces, connected pieces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]

_WELD = 1e-5
"""Metres below which two points are one."""


def weld(points: NDArray[np.float64], faces: Ints) -> tuple[NDArray[np.float32], Ints]:
    """Distinct points, float32 (n, 3), and faces over them."""
    keys = np.round(points / _WELD).astype(np.int64)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return points[first].astype(np.float32), inverse.reshape(-1)[faces].astype(np.int32)


def is_closed(faces: Ints) -> bool:
    """Whether each edge is met once from either side, so that the surface has an inside."""
    edges = _edges(faces)
    if len(edges) == 0:
        return False
    forward, counts = np.unique(edges, axis=0, return_counts=True)
    backward = np.unique(edges[:, ::-1], axis=0)
    return bool((counts == 1).all() and len(forward) == len(backward) and (forward == backward).all())


def signed_volume(vertices: NDArray[np.float32], faces: Ints) -> float:
    """Cubic metres inside of a closed surface, negative where it is inside out."""
    first, second, third = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    return float(np.einsum("fk,fk->", first, np.cross(second, third)) / 6)


def connect_charts(faces: Ints, uv: NDArray[np.float64]) -> Ints:
    """Number of the chart of each face, int32 (faces,): faces with an edge in common, in space and in the texture."""
    places = np.round(uv.reshape(-1, 2) * 1e6).astype(np.int64)
    keys = np.column_stack((faces.reshape(-1), places))
    corners = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1, 3).astype(np.int32)
    return connect_faces(corners, np.zeros(len(faces), np.int64))


def connect_faces(faces: Ints, groups: NDArray[np.int64]) -> Ints:
    """Number of the piece of each face, int32 (faces,): faces of one group that share edges."""
    edges = np.sort(_edges(faces), axis=1)
    owner = np.tile(np.arange(len(faces)), 3)
    keys = np.column_stack((edges, groups[owner]))
    order = np.lexsort(keys.T)
    same = (keys[order][1:] == keys[order][:-1]).all(axis=1)
    first, second = owner[order][:-1][same], owner[order][1:][same]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(faces), len(faces)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def _edges(faces: Ints) -> Ints:
    return np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
