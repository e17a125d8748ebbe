"""Meshes that callers bring, as OBJ or GLB: read within limits, checked, set onto the ground, and unwrapped if need be.

Both formats are read here rather than by a library: nothing outside of the file is ever opened, sizes are known before
anything is allocated, pictures in the file are never decoded, and names of materials tell glass from paint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.atlas_maps import draw_atlas
from services.security.camouflage.meshes.glb_files import is_glb, read_glb
from services.security.camouflage.meshes.mesh import Mesh, Part
from services.security.camouflage.meshes.obj_files import read_obj
from services.security.camouflage.meshes.raw import MeshLimits, RawMesh
from services.security.camouflage.meshes.topology import connect_charts, is_closed, signed_volume, weld
from services.security.camouflage.meshes.unwrapping import unwrap_by_box
from shared.problems import ContentTooLarge, field_problem

UpAxis = Literal["y", "z"]

LIMITS: Final = MeshLimits()

SIZES: Final = (1.0, 25.0)
"""Least and greatest length of what is taken for a vehicle, in metres."""

_FARTHEST: Final = 1e9
"""Greatest coordinate that is taken for one."""

_LENGTHS: Final = 12_000
"""Longest edges of all triangles in sum, in radii of the mesh: what bounds the time of a picture."""

_OVERLAP: Final = 0.01
"""Share of used texels with more than one face above which the file's own texture coordinates are not used."""

_BOXES: Final = 16.0
"""Boxes around triangles in the texture, in textures, above which they overlap or are too thin to be painted."""

_WORDS: Final[dict[Part, tuple[str, ...]]] = {
    Part.WINDOW: ("glass", "window", "windscreen", "windshield"),
    Part.WHEEL: ("wheel", "tyre", "tire", "rim", "brake"),
    Part.LIGHT: ("light", "lamp", "indicator", "blinker"),
    Part.TRIM: ("trim", "plastic", "rubber", "chrome", "grille", "interior", "seat", "plate", "mirror", "under"),
}
"""Parts of which these occur in a material's name; everything else is body."""

_COLOURS: Final[dict[Part, tuple[float, float, float]]] = {
    Part.BODY: (0.5, 0.5, 0.5),
    Part.WINDOW: (0.10, 0.11, 0.12),
    Part.WHEEL: (0.10, 0.10, 0.10),
    Part.LIGHT: (0.85, 0.85, 0.82),
    Part.TRIM: (0.12, 0.12, 0.12),
}


@dataclass(frozen=True, slots=True, eq=False)
class ImportedMesh:
    """A mesh out of a file, and what was done to it.

    Attributes:
        mesh: standing on the ground, its middle above the origin.
        materials: names in the file and the part that each was taken for.
        unwrapped: whether texture coordinates were made here, as the file has none that could be painted.
    """

    mesh: Mesh
    materials: dict[str, Part]
    unwrapped: bool


def import_mesh(
    data: bytes,
    *,
    pointer: str,
    up: UpAxis = "y",
    length: float | None = None,
    painted: frozenset[str] | None = None,
    limits: MeshLimits = LIMITS,
) -> ImportedMesh:
    """Read a mesh. Blocks, for up to seconds.

    Args:
        data: OBJ as text, or GLB (binary glTF 2.0).
        pointer: the field to blame.
        up: axis that points up in an OBJ; the front is z where y is up, and x where z is. In GLB it is y.
        length: metres that the mesh is scaled to, along its longer side on the ground; as in the file if None.
        painted: names of materials that are painted; by their names if None.
        limits: of file, vertices and faces.

    Raises:
        ContentTooLarge: the file, or what is in it, exceeds the limits.
        UnprocessableContent: it is no such file, or nothing that can be painted.
    """
    if len(data) > limits.bytes:
        raise ContentTooLarge(f"A mesh has at most {limits.bytes} bytes; this one has {len(data)}.")
    binary = is_glb(data)
    raw = read_glb(data, pointer, limits) if binary else read_obj(data, pointer, limits)
    raw = _without_empty_faces(_placed(raw, pointer, "y" if binary else up, length), pointer)
    materials = {name: _part_of(name, painted) for name in raw.materials}
    parts = np.array([materials[name] for name in raw.materials], np.int8)[raw.material_of]
    if not (parts == Part.BODY).any():
        listed = ", ".join(sorted(materials)[:20])
        raise field_problem(pointer, f"No face is painted; name a material that is, out of: {listed}.")
    return _finished(raw, parts, materials, pointer)


def _finished(raw: RawMesh, parts: NDArray[np.int8], materials: dict[str, Part], pointer: str) -> ImportedMesh:
    vertices, faces = weld(raw.positions, raw.faces)
    closed = is_closed(faces)
    uv = raw.uv
    if closed and signed_volume(vertices, faces) < 0:
        faces = faces[:, ::-1]
        uv = None if uv is None else uv[:, ::-1]
    colours = np.array([_COLOURS[part] for part in Part], np.float32)[parts]
    if uv is not None and uv.min() >= 0 and uv.max() <= 1:  # NaN is not
        mesh = Mesh(vertices, faces, uv.astype(np.float32), parts, colours, connect_charts(faces, uv), closed)
        if _can_be_painted(mesh):
            return ImportedMesh(mesh, materials, unwrapped=False)
    try:
        unwrapped, charts = unwrap_by_box(vertices, faces)
    except ValueError as error:
        raise field_problem(
            pointer, f"The mesh has no usable texture coordinates, and {error}: unwrap it in a modelling program."
        ) from None
    return ImportedMesh(Mesh(vertices, faces, unwrapped, parts, colours, charts, closed), materials, unwrapped=True)


def _can_be_painted(mesh: Mesh, side: int = 512) -> bool:
    """Whether each place of the texture belongs to one place of the surface."""
    painted, extent = mesh.paintable, np.ptp(mesh.uv, axis=1)
    if extent.prod(axis=1).sum() > _BOXES:
        return False
    if (np.abs(mesh.uv_areas[painted]) < 1e-10).mean() > _OVERLAP:
        return False
    _, counts = draw_atlas(mesh, side, side)
    return bool((counts > 1).sum() <= _OVERLAP * max((counts > 0).sum(), 1))


def _part_of(name: str, painted: frozenset[str] | None) -> Part:
    """The part that a material stands for."""
    if painted is not None and name in painted:
        return Part.BODY
    lower = name.lower()
    for part, words in _WORDS.items():
        if any(word in lower for word in words):
            return part
    return Part.BODY if painted is None else Part.TRIM


def _placed(raw: RawMesh, pointer: str, up: UpAxis, length: float | None) -> RawMesh:
    """The mesh with z upwards, on the ground, its middle above the origin, and in metres."""
    used, faces = np.unique(raw.faces, return_inverse=True)
    positions = raw.positions[used][:, [2, 0, 1] if up == "y" else [0, 1, 2]]
    if not (np.abs(positions) < _FARTHEST).all():
        raise field_problem(pointer, "A vertex is not a finite number, or is far away; export the mesh again.")
    low, high = positions.min(axis=0), positions.max(axis=0)
    longest = float((high - low)[:2].max())
    if not longest > 0:
        raise field_problem(pointer, "The mesh has no extent on the ground; is another axis up?")
    scale = 1.0 if length is None else length / longest
    tallest = float((high - low)[2])
    if not (SIZES[0] <= longest * scale and max(longest, tallest) * scale <= SIZES[1]):
        found = f"The mesh is {longest * scale:.3g} m long and {tallest * scale:.3g} m high"
        raise field_problem(pointer, f"{found}, a vehicle {SIZES[0]:g} to {SIZES[1]:g} m long; state its length.")
    origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    return RawMesh(
        (positions - origin) * scale, faces.reshape(-1, 3).astype(np.int32), raw.uv, raw.material_of, raw.materials
    )


def _without_empty_faces(raw: RawMesh, pointer: str) -> RawMesh:
    first, second, third = (raw.positions[raw.faces[:, corner]] for corner in range(3))
    keep = np.linalg.norm(np.cross(second - first, third - first), axis=1) > 1e-9
    if keep.sum() < 4:
        raise field_problem(pointer, "The mesh has fewer than four triangles that have an area.")
    edges = raw.positions[raw.faces] - raw.positions[np.roll(raw.faces, 1, axis=1)]
    radius = float(np.ptp(raw.positions[raw.faces.reshape(-1)], axis=0).max()) / 2
    if np.linalg.norm(edges, axis=2).max(axis=1).sum() > _LENGTHS * radius:
        raise field_problem(pointer, "The mesh has too many long thin triangles; make them more even.")
    uv = None if raw.uv is None else raw.uv[keep]
    return RawMesh(raw.positions, raw.faces[keep], uv, raw.material_of[keep], raw.materials)
