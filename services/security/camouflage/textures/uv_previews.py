"""A texture as it lies in its atlas: what is painted, what is not, and where charts end."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from services.security.camouflage.meshes.atlas_maps import AtlasMaps
from services.security.camouflage.meshes.mesh import Mesh

Floats = NDArray[np.float32]

SIDE: Final = 768
"""Least pixels of a preview's side."""

_NOTHING: Final = (246, 246, 246)
_UNPAINTED: Final = (205, 205, 205)
_OUTLINE: Final = (20, 20, 20)
_INNER: Final = (255, 255, 255)


def draw_uv_preview(texture: Floats, mesh: Mesh, maps: AtlasMaps) -> NDArray[np.uint8]:
    """Draw a texture with the outlines of its charts.

    Args:
        texture: float32 (side, side, 3), sRGB in [0, 1].
        mesh: that it is laid over.
        maps: of the mesh, of the texture's size.

    Returns:
        uint8 RGB, square, of at least `SIDE` pixels; texels stay squares. Paint shows the texture, parts that are not
        painted are grey, and what belongs to no part is nearly white.
    """
    pixels = np.full((*texture.shape[:2], 3), _NOTHING, np.uint8)
    pixels[maps.faces >= 0] = _UNPAINTED
    pixels[maps.mask] = (texture[maps.mask] * 255 + 0.5).astype(np.uint8)
    factor = -(-SIDE // texture.shape[0])
    side = texture.shape[0] * factor
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
    _draw_lines(ImageDraw.Draw(image), chart_outlines(mesh) * np.array([side, -side]) + np.array([0, side]))
    return np.asarray(image)


def chart_outlines(mesh: Mesh) -> NDArray[np.float64]:
    """Edges of triangles in the texture that no other triangle shares there, float64 (edges, 2, 2), v upwards."""
    corners = mesh.uv.astype(np.float64)
    places = np.unique(np.round(corners.reshape(-1, 2) * 1e6).astype(np.int64), axis=0, return_inverse=True)[1]
    places = places.reshape(-1, 3)
    pairs = np.stack((places, np.roll(places, -1, axis=1)), axis=2).reshape(-1, 2)
    ends = np.stack((corners, np.roll(corners, -1, axis=1)), axis=2).reshape(-1, 2, 2)
    _, first, counts = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True, return_counts=True)
    return np.asarray(ends[first[counts == 1]])


def _draw_lines(draw: ImageDraw.ImageDraw, edges: NDArray[np.float64]) -> None:
    """Dark lines with a light one inside, which are seen on any paint."""
    for colour, width in ((_OUTLINE, 3), (_INNER, 1)):
        for (left, top), (right, bottom) in edges.tolist():
            draw.line((left, top, right, bottom), fill=colour, width=width)
