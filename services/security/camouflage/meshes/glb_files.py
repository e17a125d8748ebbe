"""GLB, the binary form of glTF 2.0: triangles of the default scene and names of materials; no pictures."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from services.security.camouflage.meshes.glb_accessors import Malformed, entry, read_accessor, whole
from services.security.camouflage.meshes.raw import NO_MATERIAL, MeshLimits, RawMesh
from shared.problems import ContentTooLarge, field_problem

_MAGIC: Final = b"glTF"
_JSON: Final = 0x4E4F534A
_BINARY: Final = 0x004E4942
_TRIANGLES: Final = 4
_NODES: Final = 5_000
_FARTHEST: Final = 1e9

_HARMLESS: Final = ("KHR_materials_", "KHR_texture_", "EXT_texture_", "KHR_lights_", "KHR_mesh_quantization")
"""Extensions that a file may need: of surfaces, and of numbers that are read here anyway."""

Floats = NDArray[np.float64]


@dataclass(slots=True)
class _Gathering:
    """Triangles so far."""

    positions: list[Floats] = field(default_factory=list)
    faces: list[NDArray[np.int32]] = field(default_factory=list)
    uv: list[Floats | None] = field(default_factory=list)
    material_of: list[NDArray[np.int32]] = field(default_factory=list)
    materials: dict[str, int] = field(default_factory=dict)
    vertex_count: int = 0
    face_count: int = 0


def is_glb(data: bytes) -> bool:
    """Whether the bytes begin as a GLB."""
    return data[:4] == _MAGIC


def read_glb(data: bytes, pointer: str, limits: MeshLimits) -> RawMesh:
    """Read a GLB.

    Raises:
        ContentTooLarge: there is more in it than the limits allow.
        UnprocessableContent: it is damaged, refers to other files, is compressed, or holds no triangles.
    """
    try:
        document, binary = _chunks(data)
        _check_self_contained(document)
        gathering = _Gathering()
        for mesh, transform in _instances(document):
            for primitive in entry(document, "meshes", mesh).get("primitives") or ():
                _gather(document, binary, primitive, transform, gathering, limits)
    except Malformed as error:
        raise field_problem(pointer, f"The GLB cannot be read: {error}.") from None
    except (AttributeError, KeyError, TypeError, ValueError, struct.error):
        raise field_problem(pointer, "The GLB is damaged: a part of it is not what glTF 2.0 wants.") from None
    if not gathering.faces:
        raise field_problem(pointer, "The GLB holds no triangles in its scene.")
    return _raw(gathering)


def _chunks(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The JSON document and the binary chunk."""
    _, version, _ = struct.unpack_from("<4sII", data)
    if version != 2:
        raise Malformed(f"version 2 of glTF is read, this is {version}")
    document, binary, place = None, memoryview(b""), 12
    while place + 8 <= len(data):
        size, kind = struct.unpack_from("<II", data, place)
        if place + 8 + size > len(data):
            raise Malformed("it is cut off")
        chunk = memoryview(data)[place + 8 : place + 8 + size]
        if kind == _JSON and document is None:
            document = orjson.loads(chunk)
        elif kind == _BINARY and not binary:
            binary = chunk
        place += 8 + size
    if not isinstance(document, dict):
        raise Malformed("it has no JSON document")
    return document, binary


def _check_self_contained(document: dict[str, Any]) -> None:
    buffers = document.get("buffers") or []
    if len(buffers) > 1 or any("uri" in buffer for buffer in buffers):
        raise Malformed("its geometry lies in another file; export it as one GLB")
    needed = [str(name) for name in document.get("extensionsRequired") or ()]
    unknown = [name for name in needed if not name.startswith(_HARMLESS)]
    if unknown:
        raise Malformed(f"it needs {', '.join(unknown[:5])[:200]}; export it without compression")


def _instances(document: dict[str, Any]) -> Iterator[tuple[int, Floats]]:
    """Meshes of the scene, each with the matrix (4, 4) that it is placed with."""
    if not document.get("scenes"):
        yield from ((index, np.eye(4)) for index in range(len(document.get("meshes") or ())))
        return
    scene = entry(document, "scenes", document.get("scene", 0))
    waiting = [(node, np.eye(4)) for node in scene.get("nodes") or ()]
    seen: set[int] = set()
    while waiting:
        index, above = waiting.pop()
        if whole(index) in seen or len(seen) >= _NODES:
            raise Malformed(f"a node has two parents, or there are more than {_NODES} nodes")
        seen.add(index)
        node = entry(document, "nodes", index)
        transform = above @ _matrix(node)
        if not (np.abs(transform) < _FARTHEST).all():
            raise Malformed("a node is placed by numbers that are not finite or far too large")
        if "mesh" in node:
            yield node["mesh"], transform
        waiting += [(child, transform) for child in node.get("children") or ()]


def _matrix(node: dict[str, Any]) -> Floats:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = (float(one) for one in node.get("rotation", (0, 0, 0, 1)))
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), np.float64).reshape(3)
    matrix[:3, 3] = np.array(node.get("translation", (0, 0, 0)), np.float64).reshape(3)
    return matrix


def _gather(
    document: dict[str, Any],
    binary: memoryview,
    primitive: dict[str, Any],
    transform: Floats,
    gathering: _Gathering,
    limits: MeshLimits,
) -> None:
    """Add the triangles of a primitive."""
    if primitive.get("mode", _TRIANGLES) != _TRIANGLES:
        raise Malformed("it holds points, lines, strips or fans; export it as triangles")
    attributes = primitive["attributes"]
    room = limits.vertices - gathering.vertex_count, 3 * (limits.faces - gathering.face_count)
    points = read_accessor(document, binary, attributes["POSITION"], width=3, limit=room[0])
    if "indices" in primitive:
        indices = read_accessor(document, binary, primitive["indices"], width=1, limit=room[1]).reshape(-1)
    elif len(points) > room[1]:
        raise ContentTooLarge(f"A mesh has at most {limits.faces} triangles; simplify it.")
    else:
        indices = np.arange(len(points), dtype=np.float64)
    if len(indices) % 3 or (len(indices) and not 0 <= indices.min() <= indices.max() < len(points)):
        raise Malformed("a triangle names a vertex that is not there")
    faces = indices.astype(np.int32).reshape(-1, 3)
    uv = None
    if "TEXCOORD_0" in attributes:
        uv = read_accessor(document, binary, attributes["TEXCOORD_0"], width=2, limit=room[0])
        if len(uv) != len(points):
            raise Malformed("there are not as many texture coordinates as vertices")
        uv = np.stack((uv[:, 0], 1 - uv[:, 1]), axis=1)[faces]
    if np.linalg.det(transform[:3, :3]) < 0:
        faces, uv = faces[:, ::-1], None if uv is None else uv[:, ::-1]
    gathering.positions.append(points @ transform[:3, :3].T + transform[:3, 3])
    gathering.faces.append(faces + np.int32(gathering.vertex_count))
    gathering.uv.append(uv)
    name = _material_name(document, primitive)
    number = gathering.materials.setdefault(name, len(gathering.materials))
    if number >= limits.materials:
        raise ContentTooLarge(f"A mesh has at most {limits.materials} materials.")
    gathering.material_of.append(np.full(len(faces), number, np.int32))
    gathering.vertex_count += len(points)
    gathering.face_count += len(faces)


def _material_name(document: dict[str, Any], primitive: dict[str, Any]) -> str:
    if "material" not in primitive:
        return NO_MATERIAL
    index = primitive["material"]
    return str(entry(document, "materials", index).get("name") or f"material {index}")[:100]


def _raw(gathering: _Gathering) -> RawMesh:
    uv = [one for one in gathering.uv if one is not None]
    return RawMesh(
        np.concatenate(gathering.positions),
        np.concatenate(gathering.faces),
        np.concatenate(uv) if len(uv) == len(gathering.uv) else None,
        np.concatenate(gathering.material_of),
        tuple(gathering.materials),
    )
