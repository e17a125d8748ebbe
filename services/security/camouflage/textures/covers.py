"""Which texels a camouflage replaces: all paint, or rectangles of it that make a share of the painted surface.

A share is one of square metres on the car, not of texels (fact sheet, section 7): charts shrink what lies in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.atlas_maps import AtlasMaps
from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.meshes.normals import face_normals
from services.security.camouflage.planning.plan import Cover, StickerPlace

_LEAST_CHART: Final = 0.3
"""Surface of a place in a chart, as a share of that in its largest chart, below which the chart gets no sticker."""
_ROOF: Final = 0.75
"""Share of a car's height above which what faces up is roof."""
_FACING: Final = 0.6
"""Least part of a unit normal along an axis of what faces along it."""
_ROUNDS: Final = 40


class CoverTooLarge(ValueError):
    """The places asked for hold less surface than the share asked for.

    Attributes:
        largest: share that they hold.
    """

    def __init__(self, largest: float) -> None:
        super().__init__(f"the places hold {largest:.3f} of the painted surface")
        self.largest = largest


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A sticker's place in a texture, in texels; right and bottom are excluded. It lies in one chart.

    Attributes:
        place: on the car.
        chart: that it is cut from.
        left: column.
        top: row.
        right: column.
        bottom: row.
    """

    place: StickerPlace
    chart: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True, eq=False)
class CoverMask:
    """What of a texture is replaced.

    Attributes:
        mask: bool (side, side), texels that get the pattern; the others keep the paint.
        areas: float32 (side, side), their surface in square metres, zero elsewhere.
        charts: int32 (side, side), chart of each covered texel on painted surface, -1 elsewhere.
        share: of the painted surface that is covered, exactly.
        rectangles: of stickers; empty for a full cover.
    """

    mask: NDArray[np.bool_]
    areas: NDArray[np.float32]
    charts: NDArray[np.int32]
    share: float
    rectangles: tuple[Rectangle, ...] = ()


def make_cover(mesh: Mesh, maps: AtlasMaps, cover: Cover) -> CoverMask:
    """The texels of a cover.

    Args:
        mesh: that is painted; its front is towards x.
        maps: of its texture.
        cover: which part.

    Raises:
        CoverTooLarge: there is too little painted surface at the places.
    """
    if cover.mode == "full":
        return _cover(mesh, maps, maps.mask, ())
    regions = _regions(mesh, maps, cover.places)
    whole, target = float(maps.areas.sum()), cover.share * float(maps.areas.sum())
    largest = float(sum(maps.areas[region].sum() for _, _, region in regions))
    if largest < target or not regions:
        raise CoverTooLarge(largest / max(whole, 1e-9))
    low, high = 0.0, 1.0
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        reached = maps.areas[_drawn(maps, regions, middle)[0]].sum()
        low, high = (low, middle) if reached >= target else (middle, high)
    candidates = [_drawn(maps, regions, size) for size in (low, high)]
    mask, rectangles = min(candidates, key=lambda one: abs(float(maps.areas[one[0]].sum()) - target))
    return _cover(mesh, maps, mask, rectangles)


def _cover(mesh: Mesh, maps: AtlasMaps, mask: NDArray[np.bool_], rectangles: tuple[Rectangle, ...]) -> CoverMask:
    areas = np.where(mask, maps.areas, 0).astype(np.float32)
    charts = np.where(mask & maps.painted, mesh.charts[maps.faces], -1).astype(np.int32)
    return CoverMask(mask, areas, charts, float(areas.sum() / max(float(maps.areas.sum()), 1e-9)), rectangles)


_Region = tuple[StickerPlace, int, NDArray[np.bool_]]


def _regions(mesh: Mesh, maps: AtlasMaps, places: tuple[StickerPlace, ...]) -> list[_Region]:
    """Painted texels of each place in each chart that holds enough of it."""
    found: list[_Region] = []
    for place in dict.fromkeys(places):
        here = maps.painted & _faces_of(mesh, place)[maps.faces]
        surfaces = np.bincount(mesh.charts[maps.faces[here]], maps.areas[here])
        large = np.flatnonzero(surfaces >= _LEAST_CHART * surfaces.max(initial=1e-9))
        found += [(place, int(chart), here & (mesh.charts[maps.faces] == chart)) for chart in large]
    return found


def _faces_of(mesh: Mesh, place: StickerPlace) -> NDArray[np.bool_]:
    """Which faces lie at a place, by where they are and what they face; bool (faces,)."""
    normals = face_normals(mesh.vertices, mesh.faces)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    middles = mesh.corners.mean(axis=1)
    low, high = mesh.bounds
    height, front = (middles[:, 2] - low[2]) / (high[2] - low[2]), middles[:, 0] > mesh.centre[0]
    upwards = normals[:, 2] > _FACING
    if place == "sides":
        return np.asarray(np.abs(normals[:, 1]) > _FACING)
    if place == "roof":
        return np.asarray(upwards & (height > _ROOF))
    if place == "bonnet":
        return np.asarray(upwards & (height <= _ROOF) & front)
    # The lid of a boot belongs to the rear.
    return np.asarray(((normals[:, 0] < -_FACING) | (upwards & (height <= _ROOF))) & ~front)


def _drawn(maps: AtlasMaps, regions: list[_Region], size: float) -> tuple[NDArray[np.bool_], tuple[Rectangle, ...]]:
    """Rectangles around the middle of each region, of a size between nothing (0) and all of it (1)."""
    mask, rectangles = np.zeros(maps.painted.shape, bool), []
    for place, chart, region in regions:
        rows, columns = np.nonzero(region)
        surface = maps.areas[region]
        top, bottom = _span(rows, surface, size)
        left, right = _span(columns, surface, size)
        inside = (rows + 0.5 >= top) & (rows + 0.5 < bottom) & (columns + 0.5 >= left) & (columns + 0.5 < right)
        mask[rows[inside], columns[inside]] = True
        rectangles.append(Rectangle(place, chart, left, top, right, bottom))
    return mask, tuple(rectangles)


def _span(places: NDArray[np.int64], weights: NDArray[np.float32], size: float) -> tuple[float, float]:
    """A part of the range of places, around their mean."""
    middle = float(np.average(places + 0.5, weights=weights))
    low, high = float(places.min()), float(places.max() + 1)
    return middle - size * (middle - low), middle + size * (high - middle)
