"""Texture coordinates for meshes without: pieces that face the same side of a box, laid flat."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.atlas import MARGIN, pack_charts
from services.security.camouflage.meshes.atlas_maps import overlapping_faces
from services.security.camouflage.meshes.normals import face_normals
from services.security.camouflage.meshes.topology import connect_faces

CHARTS: Final = 2_500
"""Most pieces that are laid into one texture."""

_SIDE: Final = 1024
"""Texels along each axis of the texture that overlaps are looked for in."""


def unwrap_by_box(
    vertices: NDArray[np.float32], faces: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Lay each piece flat along the axis that it faces most; it shrinks by sqrt(3) in area at most.

    Pieces that would overlap themselves, as spirals do, are cut into single triangles.

    Args:
        vertices: float32 (vertices, 3).
        faces: int32 (faces, 3).

    Returns:
        Texture coordinates float32 (faces, 3, 2) in [0, 1], and charts int32 (faces,).

    Raises:
        ValueError: it falls into too many pieces.
    """
    normals = face_normals(vertices, faces)
    axis = np.abs(normals).argmax(axis=1)
    positive = np.take_along_axis(normals, axis[:, None], axis=1)[:, 0] > 0
    side = axis * 2 + positive
    charts = connect_faces(faces, side.astype(np.int64))
    flat = _flattened(vertices[faces].astype(np.float64), axis, positive)
    uv = _packed(flat, charts)
    folded = np.isin(charts, np.unique(charts[overlapping_faces(uv, _SIDE, _SIDE)]))
    if folded.any():
        charts = np.where(folded, charts.max() + 1 + np.arange(len(charts)), charts)
        charts = np.unique(charts, return_inverse=True)[1].reshape(-1).astype(np.int32)
        uv = _packed(flat, charts)
    return uv, charts


def _flattened(
    corners: NDArray[np.float64], axis: NDArray[np.int64], positive: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Corners (faces, 3, 2) without their axis, counter-clockwise where they are so from outside."""
    across = np.choose(axis[:, None], (corners[..., 1], corners[..., 2], corners[..., 0]))
    up = np.choose(axis[:, None], (corners[..., 2], corners[..., 0], corners[..., 1]))
    return np.stack((np.where(positive[:, None], across, -across), up), axis=-1)


def _packed(flat: NDArray[np.float64], charts: NDArray[np.int32]) -> NDArray[np.float32]:
    count = int(charts.max()) + 1
    if count > CHARTS:
        raise ValueError(f"it falls into {count} pieces when it is unwrapped, of which {CHARTS} are possible")
    return pack_charts(flat, charts, margin=min(MARGIN, 0.25 / float(np.sqrt(count))))
