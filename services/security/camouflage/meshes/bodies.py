"""The body of a car: a box of which every side is a grid, bent to profiles along the length.

A section across the car has a lower side from the sill to the belt line, an upper side from there to the edge of the
top, and a top. Bonnet, windscreen, roof and boot are one top whose height changes along the car; wheel arches are where
the sill rises. Which cells are glass, lamps, grille or gaps between panels follows from their place on the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.meshes.patches import Patch, mirror_patch

Profile = Sequence[tuple[float, float]]
"""Values at places along the car, x ascending; between them a monotone cubic."""

Floats = NDArray[np.float64]

LOWER_ROWS: Final = (0.0, 0.16, 0.32, 0.48, 0.66, 0.84, 1.0)
UPPER_ROWS: Final = (0.0, 0.10, 0.5, 0.92, 1.0)
COLUMNS: Final = (-1.0, -0.93, -0.86, -0.6, -0.3, -0.12, 0.12, 0.3, 0.6, 0.86, 0.93, 1.0)

_BULGE: Final = (0.93, 0.975, 0.995, 1.0, 0.998, 0.985, 0.955)
"""Half width at the lower rows, as a share of the greatest."""

_STEP: Final = 0.22
_SEAM: Final = 0.008
_UNSEEN_SCALE: Final = 0.3

GLASS: Final = (0.10, 0.11, 0.12)
BLACK: Final = (0.09, 0.09, 0.10)
GREY: Final = (0.30, 0.30, 0.31)
WHITE: Final = (0.90, 0.90, 0.88)
HEADLAMP: Final = (0.88, 0.90, 0.92)
TAIL_LAMP: Final = (0.62, 0.05, 0.05)


@dataclass(frozen=True, slots=True)
class BodyShape:
    """Measures of a body in metres; x is 0 in the middle of the car.

    Attributes:
        belt: height of the belt line along the car; its first and last x are the car's ends.
        top: height of the edge of bonnet, roof and boot.
        width: half width along the car, at its widest row.
        sill: height of the lower edge.
        axles: x of the rear and of the front axle.
        arch: radius of the wheel arches.
        axle_height: of the wheels' centres.
        tumblehome: how much the upper side leans inwards, metres a metre.
        crown: how much higher the middle of the top is than its edges.
        nose: how far the ends are drawn back at the corners and at the upper edge.
        seams: x of gaps between doors.
        pillars: x of black pillars between side windows.
        side_windows: range of x with glass in the upper side.
        windscreen: range of x with glass in the top.
        rear_window: the same at the rear; empty where the glass is in the rear end.
        rear_glass: whether the upper side of the rear end is glass.
        bed: range of x of an open bed; empty for none.
        bed_depth: of that below the top's edge.
    """

    belt: Profile
    top: Profile
    width: Profile
    sill: float
    axles: tuple[float, float]
    arch: float
    axle_height: float
    tumblehome: float
    crown: float
    nose: float
    seams: tuple[float, ...]
    pillars: tuple[float, ...]
    side_windows: tuple[float, float]
    windscreen: tuple[float, float]
    rear_window: tuple[float, float] | None = None
    rear_glass: bool = False
    bed: tuple[float, float] | None = None
    bed_depth: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Sections:
    """Points of sections along the car.

    Attributes:
        x: float64 (stations,).
        half: float64 (stations, rows), half width.
        z: float64 (stations, rows).
    """

    x: Floats
    half: Floats
    z: Floats


def make_body(shape: BodyShape) -> list[Patch]:
    """Left, right, top, bottom, front and rear of a body, closed where they meet."""
    sections = _sections(shape)
    left = _side(shape, sections)
    return [
        left,
        mirror_patch(left),
        _top(shape, sections),
        _bottom(shape, sections),
        _end(shape, sections, front=True),
        _end(shape, sections, front=False),
    ]


def _stations(shape: BodyShape) -> Floats:
    """Places of sections: evenly, and wherever something begins or ends."""
    first, last = shape.belt[0][0], shape.belt[-1][0]
    chosen = [first, last, *shape.side_windows, *shape.windscreen]
    chosen += [end for span in (shape.rear_window, shape.bed) if span for end in span]
    if shape.bed:
        chosen += [shape.bed[0] + 0.04, shape.bed[1] - 0.04]
    chosen += [x + side * _SEAM for x in shape.seams for side in (-1, 1)]
    chosen += [x + side * 0.045 for x in shape.pillars for side in (-1, 1)]
    angles = np.radians(np.linspace(0, 180, 11))
    for axle in shape.axles:
        chosen += [*(axle + shape.arch * np.cos(angles)), axle - shape.arch - 0.012, axle + shape.arch + 0.012]
    chosen += [first + 0.04, first + 0.10, first + 0.2, last - 0.04, last - 0.10, last - 0.2]
    even = np.arange(first, last, _STEP)
    distance = np.abs(even[:, None] - np.array(chosen)[None, :]).min(axis=1)
    together = np.sort(np.concatenate((chosen, even[distance > _STEP / 3])))
    return together[np.concatenate(([True], np.diff(together) > 1e-3))]


def _sections(shape: BodyShape) -> _Sections:
    x = _stations(shape)
    from scipy.interpolate import PchipInterpolator

    belt, top, width = (PchipInterpolator(*zip(*one, strict=True))(x) for one in (shape.belt, shape.top, shape.width))
    sill = np.full_like(x, shape.sill)
    for axle in shape.axles:
        reach = shape.arch**2 - (x - axle) ** 2
        inside = reach > -1e-9
        sill[inside] = shape.axle_height + np.sqrt(np.maximum(reach[inside], 0))
    lower, upper = np.array(LOWER_ROWS), np.array(UPPER_ROWS)[1:]
    z_lower = sill[:, None] + (belt - sill)[:, None] * lower
    heights = shape.sill + (belt - shape.sill)[:, None] * lower
    shares = np.stack([np.interp(row, level, _BULGE) for row, level in zip(z_lower, heights, strict=True)])
    half_lower = width[:, None] * shares
    rise = np.maximum(top - belt, 0.02)
    half_upper = half_lower[:, -1:] - (0.045 + shape.tumblehome * rise)[:, None] * upper
    half_upper = half_upper + (0.10 * rise)[:, None] * upper * (1 - upper)
    return _Sections(
        x,
        np.concatenate((half_lower, half_upper), axis=1),
        np.concatenate((z_lower, belt[:, None] + rise[:, None] * upper), axis=1),
    )


def _bent(shape: BodyShape, points: Floats, level: Floats | None = None) -> Floats:
    """Points with the ends of the car drawn back at the corners, at the upper edge and below the bumper.

    As far as points at another level, where one is given: the floor of a bed is bent as its edge.
    """
    first, last = shape.belt[0][0], shape.belt[-1][0]
    x, y, z = np.moveaxis(points, -1, 0)
    span = shape.belt[-1][1] - shape.sill
    height = np.clip(((z if level is None else level) - shape.sill) / span, 0, 1.1)
    lean = shape.nose * (0.8 * np.maximum(height - 0.45, 0) ** 1.5 + 0.5 * np.maximum(0.18 - height, 0))
    corner = shape.nose * 0.75 * (np.abs(y) / shape.width[len(shape.width) // 2][1]) ** 3
    front = np.clip(1 - (last - x) / 0.7, 0, 1) ** 2
    rear = np.clip(1 - (x - first) / 0.7, 0, 1) ** 2
    return np.stack((x - front * (lean + corner) + rear * (0.6 * lean + corner), y, z), axis=-1)


def _side(shape: BodyShape, sections: _Sections) -> Patch:
    """The left side: columns from front to rear, rows from the sill to the edge of the top."""
    grid = np.stack((np.broadcast_to(sections.x[:, None], sections.z.shape), sections.half, sections.z), axis=-1)
    points = _bent(shape, grid).transpose(1, 0, 2)[:, ::-1]
    belt = len(LOWER_ROWS) - 1
    along = _lengths(points[belt, :, :2])
    up = np.stack([_lengths(column) - _lengths(column)[belt] for column in points[:, :, 1:].transpose(1, 0, 2)], axis=1)
    u = along - (points[..., 0] - points[belt, :, 0])
    parts, colours = _cells(points.shape[0] - 1, points.shape[1] - 1)
    middle = (sections.x[:-1] + sections.x[1:])[::-1] / 2
    rise = (sections.z[:, -1] - sections.z[:, belt])[::-1]
    glass = _within(middle, shape.side_windows) & (np.minimum(rise[1:], rise[:-1]) > 0.10)
    glass_rows = slice(belt + 1, belt + 3)
    _mark(parts, colours, glass_rows, glass, Part.WINDOW, GLASS)
    for pillar in shape.pillars:
        _mark(parts, colours, glass_rows, _within(middle, (pillar - 0.045, pillar + 0.045)) & glass, Part.TRIM, BLACK)
    for seam in shape.seams:
        _mark(parts, colours, slice(1, belt + 1), _within(middle, (seam - _SEAM, seam + _SEAM)), Part.TRIM, BLACK)
    _mark(parts, colours, slice(0, 1), _between_axles(shape, middle), Part.TRIM, GREY)
    first, last = shape.belt[0][0], shape.belt[-1][0]
    lamp_rows = slice(belt - 2, belt)
    _mark(parts, colours, lamp_rows, middle > last - 0.2, Part.LIGHT, HEADLAMP)
    _mark(parts, colours, lamp_rows, middle < first + 0.2, Part.LIGHT, TAIL_LAMP)
    return Patch(points, np.stack((u, up), axis=-1), parts, colours)


def _top(shape: BodyShape, sections: _Sections) -> Patch:
    """Bonnet, windscreen, roof and boot: columns from rear to front, rows from right to left."""
    columns = np.array(COLUMNS)
    edge, height = sections.half[:, -1], sections.z[:, -1]
    first, last = shape.belt[0][0], shape.belt[-1][0]
    crown = shape.crown * np.clip(np.minimum(sections.x - first, last - sections.x) / 0.3, 0, 1)
    z = height[:, None] + crown[:, None] * (1 - columns**2)
    if shape.bed:
        inner = (sections.x > shape.bed[0] + 0.01) & (sections.x < shape.bed[1] - 0.01)
        middle = (sections.x > shape.bed[0] - 0.01) & (sections.x < shape.bed[1] + 0.01)
        z[middle] = height[middle, None]
        z[np.ix_(inner, np.abs(columns) < 0.9)] -= shape.bed_depth
    grid = np.stack((np.broadcast_to(sections.x[:, None], z.shape), edge[:, None] * columns, z), axis=-1)
    points = _bent(shape, grid, z.max(axis=1, keepdims=True) if shape.bed else None).transpose(1, 0, 2)
    u = _lengths(points[0][:, ::2]) + (points[..., 0] - points[0, :, 0])
    parts, colours = _cells(points.shape[0] - 1, points.shape[1] - 1)
    x = (sections.x[:-1] + sections.x[1:]) / 2
    for glass in (shape.windscreen, shape.rear_window):
        if glass:
            _mark(parts, colours, slice(1, -1), _within(x, glass), Part.WINDOW, GLASS)
    if shape.bed:
        _mark(parts, colours, slice(1, -1), _within(x, shape.bed), Part.TRIM, BLACK)
    return Patch(points, np.stack((u, points[..., 1]), axis=-1), parts, colours)


def _bottom(shape: BodyShape, sections: _Sections) -> Patch:
    """The underside: columns from rear to front, rows from left to right."""
    columns = np.array(COLUMNS)[::-1]
    z = np.broadcast_to(sections.z[:, :1], (len(sections.x), len(columns)))
    grid = np.stack((np.broadcast_to(sections.x[:, None], z.shape), sections.half[:, :1] * columns, z), axis=-1)
    points = _bent(shape, grid).transpose(1, 0, 2)
    u = _lengths(points[0][:, ::2]) + (points[..., 0] - points[0, :, 0])
    parts, colours = _cells(points.shape[0] - 1, points.shape[1] - 1)
    _mark(parts, colours, slice(None), np.ones(parts.shape[1], dtype=bool), Part.TRIM, BLACK)
    return Patch(points, np.stack((u, -points[..., 1]), axis=-1), parts, colours, _UNSEEN_SCALE)


def _end(shape: BodyShape, sections: _Sections, *, front: bool) -> Patch:
    """The front or the rear: columns to the right as it is looked at, rows upwards."""
    station = -1 if front else 0
    columns = np.array(COLUMNS) if front else np.array(COLUMNS)[::-1]
    z = np.broadcast_to(sections.z[station][:, None], (sections.z.shape[1], len(columns)))
    y = sections.half[station][:, None] * columns
    points = _bent(shape, np.stack((np.full_like(y, sections.x[station]), y, z), axis=-1))
    v = _lengths(points[:, len(columns) // 2, ::2])[:, None] + np.zeros_like(y)
    uv = np.stack((points[..., 1] * (1 if front else -1), v), axis=-1)
    parts, colours = _cells(points.shape[0] - 1, points.shape[1] - 1)
    middle = np.abs(columns[:-1] + columns[1:]) / 2
    _furnish(shape, parts, colours, middle, front=front)
    return Patch(points, uv, parts, colours)


def _furnish(
    shape: BodyShape, parts: NDArray[np.int8], colours: NDArray[np.float32], middle: Floats, *, front: bool
) -> None:
    """Lamps, grille, number plate and bumper of an end."""
    belt = len(LOWER_ROWS) - 1
    _mark(parts, colours, slice(0, 1), middle < 2, Part.TRIM, GREY)
    _mark(parts, colours, slice(belt - 2, belt), middle > 0.58, Part.LIGHT, HEADLAMP if front else TAIL_LAMP)
    if front:
        _mark(parts, colours, slice(belt - 2, belt - 1), middle < 0.58, Part.TRIM, BLACK)
        _mark(parts, colours, slice(1, 2), middle < 0.8, Part.TRIM, BLACK)
    _mark(parts, colours, slice(2, 3), middle < 0.25, Part.TRIM, WHITE)
    if shape.rear_glass and not front:
        _mark(parts, colours, slice(belt + 1, belt + 3), middle < 0.9, Part.WINDOW, GLASS)


def _between_axles(shape: BodyShape, x: Floats) -> NDArray[np.bool_]:
    rear, front = shape.axles
    return (x > rear + shape.arch) & (x < front - shape.arch)


def _within(x: Floats, span: tuple[float, float]) -> NDArray[np.bool_]:
    return (x > span[0]) & (x < span[1])


def _lengths(points: Floats) -> Floats:
    """Distances along a line of points from its first, (n,)."""
    return np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))))


def _cells(rows: int, columns: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Parts and colours of a grid that is all body."""
    return np.zeros((rows, columns), np.int8), np.full((rows, columns, 3), 0.5, np.float32)


def _mark(
    parts: NDArray[np.int8],
    colours: NDArray[np.float32],
    rows: slice,
    columns: NDArray[np.bool_],
    part: Part,
    colour: tuple[float, float, float],
) -> None:
    parts[rows, columns] = part
    colours[rows, columns] = colour
