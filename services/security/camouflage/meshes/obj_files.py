"""Wavefront OBJ: vertices, texture coordinates, polygons and names of materials; all else is skipped."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.raw import NO_MATERIAL, MeshLimits, RawMesh
from shared.problems import ContentTooLarge, Problem, field_problem


@dataclass(slots=True)
class _Reading:
    """What has been read so far; corners are vertex, texture coordinate (-1 for none)."""

    limits: MeshLimits
    positions: list[tuple[float, ...]] = field(default_factory=list)
    coordinates: list[tuple[float, ...]] = field(default_factory=list)
    corners: list[tuple[int, int]] = field(default_factory=list)
    material_of: list[int] = field(default_factory=list)
    materials: dict[str, int] = field(default_factory=dict)
    material: int = -1


def read_obj(data: bytes, pointer: str, limits: MeshLimits) -> RawMesh:
    """Read an OBJ. Polygons become fans of triangles; files that it names are never opened.

    Raises:
        ContentTooLarge: there is more in it than the limits allow.
        UnprocessableContent: a line cannot be read, or there are no faces.
    """
    reading = _Reading(limits)
    for number, line in enumerate(data.decode("utf-8", "replace").replace("\\\n", " ").splitlines(), start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        try:
            _read_line(words, reading)
        except Problem:
            raise
        except (ValueError, IndexError):
            raise field_problem(pointer, f"Line {number} of the OBJ cannot be read: {line[:80]!r}.") from None
    if not reading.corners:
        raise field_problem(pointer, "This is neither a GLB nor an OBJ with faces; post a mesh in one of the two.")
    return _raw(reading)


def _read_line(words: list[str], reading: _Reading) -> None:
    keyword, values = words[0], words[1:]
    if keyword == "v":
        x, y, z = values[:3]
        reading.positions.append((float(x), float(y), float(z)))
        _check(len(reading.positions), reading.limits.vertices, "vertices")
    elif keyword == "vt":
        u, v = values[:2]
        reading.coordinates.append((float(u), float(v)))
        _check(len(reading.coordinates), 4 * reading.limits.vertices, "texture coordinates")
    elif keyword == "f":
        _read_polygon(values, reading)
    elif keyword == "usemtl":
        reading.material = _material(" ".join(values) or NO_MATERIAL, reading)


def _read_polygon(values: list[str], reading: _Reading) -> None:
    triangles = len(values) - 2
    if triangles < 1:
        raise ValueError("a polygon has three corners")
    _check(len(reading.material_of) + triangles, reading.limits.faces, "triangles")
    corners = [_corner(value, reading) for value in values]
    if reading.material < 0:
        reading.material = _material(NO_MATERIAL, reading)
    for index in range(1, len(corners) - 1):
        reading.corners += (corners[0], corners[index], corners[index + 1])
        reading.material_of.append(reading.material)


def _corner(value: str, reading: _Reading) -> tuple[int, int]:
    """Vertex and texture coordinate of `1`, `1/2`, `1//3` or `1/2/3`, counted from 1, or from the end if negative."""
    indices = value.split("/")
    vertex = _index(indices[0], len(reading.positions))
    named = len(indices) > 1 and indices[1]
    return vertex, _index(indices[1], len(reading.coordinates)) if named else -1


def _index(text: str, count: int) -> int:
    number = int(text)
    index = number - 1 if number > 0 else count + number
    if number == 0 or not 0 <= index < count:
        raise IndexError(text)
    return index


def _material(name: str, reading: _Reading) -> int:
    index = reading.materials.setdefault(name[:100], len(reading.materials))
    _check(len(reading.materials), reading.limits.materials, "materials")
    return index


def _check(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise ContentTooLarge(f"A mesh has at most {limit} {what}; simplify it.")


def _raw(reading: _Reading) -> RawMesh:
    corners = np.array(reading.corners, np.int32).reshape(-1, 3, 2)
    uv: NDArray[np.float64] | None = None
    if (corners[..., 1] >= 0).all():
        uv = np.array(reading.coordinates)[corners[..., 1]]
    return RawMesh(
        np.array(reading.positions),
        corners[..., 0],
        uv,
        np.array(reading.material_of, np.int32),
        tuple(reading.materials),
    )
