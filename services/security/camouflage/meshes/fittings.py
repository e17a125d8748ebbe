"""What is put onto a body: wheels, mirrors and blocks that fill the underside."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.meshes.patches import Patch

Floats = NDArray[np.float64]

_SEGMENTS: Final = 20
_SCALE: Final = 0.3
"""Size in the texture of what is never painted."""

_TYRE: Final = (0.07, 0.07, 0.07)
_RIM: Final = (0.62, 0.63, 0.65)
_GAP: Final = (0.12, 0.12, 0.12)

_RADII: Final = (0.0, 0.18, 0.56, 0.64, 0.70, 0.96, 1.0)
"""Rings of a wheel's outer face, as shares of its radius: hub, spokes, rim, edge, side of the tyre, shoulder."""

_DEPTHS: Final = (0.02, 0.03, 0.02, 0.0, 0.0, 0.0, 0.025)
"""How far each ring lies behind the wheel's outer plane, in metres."""


def make_wheel(x: float, outside: float, radius: float, width: float) -> list[Patch]:
    """A wheel on the left: outer face, tread and inner face.

    Args:
        x: of its centre.
        outside: y of its outer plane.
        radius: in metres; the wheel stands on the ground.
        width: in metres.
    """
    angles = -np.linspace(0, 2 * np.pi, _SEGMENTS + 1)
    angles[-1] = 0.0
    radii, depths = radius * np.array(_RADII), np.array(_DEPTHS)
    outer = _ring(x, radius, radii, outside - depths, angles)
    shoulder, inside = outside - depths[-1], outside - width
    tread = _ring(x, radius, np.array([radius, radius]), np.array([shoulder, inside]), angles)[::-1]
    inner = _ring(x, radius, np.array([0.0, radius]), np.array([inside, inside]), angles)
    unrolled = np.stack(
        np.meshgrid(radius * np.linspace(0, 2 * np.pi, _SEGMENTS + 1), np.array([0.0, shoulder - inside])), axis=-1
    )
    tyre = np.array(_TYRE, dtype=np.float32)
    face = np.broadcast_to(tyre, (len(_RADII) - 1, _SEGMENTS, 3)).copy()
    face[:4] = _RIM
    face[1, np.arange(_SEGMENTS) % 4 >= 2] = _GAP
    return [
        _wheel_patch(outer[::-1], outer[::-1][..., ::2] * np.array([-1, 1]), face[::-1]),
        _wheel_patch(tread, unrolled, np.broadcast_to(tyre, (1, _SEGMENTS, 3))),
        _wheel_patch(inner, inner[..., ::2], np.broadcast_to(tyre, (1, _SEGMENTS, 3))),
    ]


def _ring(x: float, height: float, radii: Floats, y: Floats, angles: Floats) -> Floats:
    """Circles of points around a wheel's axis, (rings, angles, 3)."""
    return np.stack(
        (
            x + radii[:, None] * np.cos(angles),
            np.broadcast_to(y[:, None], (len(radii), len(angles))),
            height + radii[:, None] * np.sin(angles),
        ),
        axis=-1,
    )


def _wheel_patch(points: Floats, uv: Floats, colours: NDArray[np.float32]) -> Patch:
    shape = points.shape[0] - 1, points.shape[1] - 1
    return Patch(points, uv, np.full(shape, Part.WHEEL, np.int8), colours.astype(np.float32), _SCALE)


def make_block(
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    colour: tuple[float, float, float],
    taper: float = 1.0,
) -> list[Patch]:
    """A closed block of trim, its end at `high` in x narrowed by the taper.

    Args:
        low: least x, y and z.
        high: greatest.
        colour: sRGB in [0, 1].
        taper: size of the end at the greatest x, as a share of the other's.
    """
    middle = (np.array(low) + np.array(high)) / 2

    def corner(x: int, y: int, z: int) -> Floats:
        point = np.where([x, y, z], high, low)
        shrunk = middle + (point - middle) * np.array([1.0, taper, taper])
        return np.asarray(shrunk if x else point)

    sides = (
        (((0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 0, 1)), (0, 2), (1, 1)),
        (((1, 1, 0), (0, 1, 0), (1, 1, 1), (0, 1, 1)), (0, 2), (-1, 1)),
        (((0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1)), (0, 1), (1, 1)),
        (((0, 1, 0), (1, 1, 0), (0, 0, 0), (1, 0, 0)), (0, 1), (1, -1)),
        (((1, 0, 0), (1, 1, 0), (1, 0, 1), (1, 1, 1)), (1, 2), (1, 1)),
        (((0, 1, 0), (0, 0, 0), (0, 1, 1), (0, 0, 1)), (1, 2), (-1, 1)),
    )
    patches = []
    for corners, axes, signs in sides:
        points = np.array([corner(*one) for one in corners]).reshape(2, 2, 3)
        colours = np.full((1, 1, 3), colour, np.float32)
        uv = points[..., list(axes)] * np.array(signs)
        patches.append(Patch(points, uv, np.full((1, 1), Part.TRIM, np.int8), colours, _SCALE))
    return patches
