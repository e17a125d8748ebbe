"""Meshes of callers: OBJ and GLB, what is made of them, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from services.security.camouflage.meshes.atlas_maps import draw_atlas
from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.meshes.importing import import_mesh
from services.security.camouflage.meshes.mesh import Mesh, Part
from services.security.camouflage.meshes.raw import MeshLimits
from services.security.camouflage.meshes.unwrapping import unwrap_by_box
from shared.problems import ContentTooLarge, Problem, UnprocessableContent
from tests.unit.services.security.camouflage.surfaces import make_box, make_sphere

POINTER = "/body/mesh"
NAMES = {Part.BODY: "Paint", Part.WINDOW: "Glass", Part.WHEEL: "Tyre", Part.LIGHT: "Headlight", Part.TRIM: "Chrome"}
Document = dict[str, Any]


def write_obj(mesh: Mesh, *, uv: bool = True) -> bytes:
    """An OBJ with y upwards."""
    lines = ["mtllib ../../etc/passwd", "o car"]
    lines += [f"v {y:.7g} {z:.7g} {x:.7g}" for x, y, z in mesh.vertices]
    lines += [f"vt {u:.7g} {v:.7g}" for u, v in mesh.uv.reshape(-1, 2)]
    for part in Part:
        lines.append(f"usemtl {NAMES[part]}")
        for face in np.flatnonzero(mesh.parts == part):
            corners = [
                f"{vertex + 1}/{3 * face + corner + 1}" if uv else f"{vertex + 1}"
                for corner, vertex in enumerate(mesh.faces[face])
            ]
            lines.append("f " + " ".join(corners))
    return "\n".join(lines).encode()


def pack_glb(document: Document, binary: bytes) -> bytes:
    text = orjson.dumps(document)
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        (
            struct.pack("<4sII", b"glTF", 2, length),
            struct.pack("<II", len(text), 0x4E4F534A), text,
            struct.pack("<II", len(binary), 0x004E4942), binary,
        )
    )  # fmt: skip


def glb_parts(mesh: Mesh, *, uv: bool = True) -> tuple[Document, bytes]:
    """The document and the numbers of a GLB of a mesh: one primitive a part, corners of their own."""
    arrays: list[NDArray[Any]] = []
    primitives = []
    for index, part in enumerate(part for part in Part if (mesh.parts == part).any()):
        chosen = mesh.parts == part
        points = mesh.corners[chosen].reshape(-1, 3)[:, [1, 2, 0]]
        places = mesh.uv[chosen].reshape(-1, 2) * [1, -1] + [0, 1]
        start = len(arrays)
        arrays += [points.astype("<f4"), places.astype("<f4"), np.arange(len(points), dtype="<u4")]
        attributes = {"POSITION": start} | ({"TEXCOORD_0": start + 1} if uv else {})
        primitives.append({"attributes": attributes, "indices": start + 2, "material": index})
    offsets = np.concatenate(([0], np.cumsum([array.nbytes for array in arrays]))).tolist()
    document: Document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": primitives}],
        "materials": [{"name": NAMES[part]} for part in Part if (mesh.parts == part).any()],
        "buffers": [{"byteLength": offsets[-1]}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": offset, "byteLength": array.nbytes}
            for offset, array in zip(offsets, arrays, strict=False)
        ],
        "accessors": [
            {
                "bufferView": index,
                "componentType": 5125 if array.ndim == 1 else 5126,
                "count": len(array),
                "type": "SCALAR" if array.ndim == 1 else f"VEC{array.shape[1]}",
            }
            for index, array in enumerate(arrays)
        ],
        "images": [{"uri": "file:///etc/passwd"}],
    }
    return document, b"".join(array.tobytes() for array in arrays)


def write_glb(mesh: Mesh, *, uv: bool = True) -> bytes:
    return pack_glb(*glb_parts(mesh, uv=uv))


@pytest.mark.parametrize("write", [write_obj, write_glb])
def test_a_car_comes_back_as_it_was(write: Callable[[Mesh], bytes]) -> None:
    car = make_car("van")
    imported = import_mesh(write(car), pointer=POINTER)
    mesh = imported.mesh
    assert mesh.closed
    assert not imported.unwrapped
    assert imported.materials == {name: part for part, name in NAMES.items()}
    assert len(mesh.faces) == len(car.faces)
    order = np.concatenate([np.flatnonzero(car.parts == part) for part in Part])
    assert mesh.corners == pytest.approx(car.corners[order], abs=2e-4)
    assert mesh.uv == pytest.approx(car.uv[order], abs=1e-6)
    assert (mesh.parts == car.parts[order]).all()
    assert len(np.unique(mesh.charts)) == len(np.unique(car.charts))


@pytest.mark.parametrize("write", [write_obj, write_glb])
def test_a_mesh_without_texture_coordinates_is_unwrapped(write: Callable[..., bytes]) -> None:
    imported = import_mesh(write(make_car("sedan"), uv=False), pointer=POINTER)
    mesh = imported.mesh
    assert imported.unwrapped
    assert 0 <= mesh.uv.min() <= mesh.uv.max() <= 1
    assert draw_atlas(mesh, 700, 700)[1].max() == 1
    ratio = mesh.uv_areas[mesh.areas > 1e-5] / mesh.areas[mesh.areas > 1e-5]
    assert ratio.min() > 0
    assert ratio.max() / ratio.min() < np.sqrt(3) * 1.01


def test_texture_coordinates_that_overlap_are_made_anew() -> None:
    box = make_box((3, 2, 1))
    piled = Mesh(box.vertices, box.faces, box.uv[:1].repeat(12, axis=0), box.parts, box.colours, box.charts)
    assert import_mesh(write_obj(piled), pointer=POINTER).unwrapped
    assert not import_mesh(write_obj(box), pointer=POINTER).unwrapped


def test_a_surface_that_would_lie_over_itself_is_cut_up() -> None:
    # A spiral ramp of two turns: all of it faces upwards and hangs together.
    angles = np.linspace(0, 4 * np.pi, 60)
    inner = np.stack((np.cos(angles), np.sin(angles), angles / 20), axis=1)
    outer = inner * [2, 2, 1]
    vertices = np.concatenate((inner, outer)).astype(np.float32)
    index = np.arange(59)
    lower = np.stack((index, index + 60, index + 61), axis=1)
    upper = np.stack((index, index + 61, index + 1), axis=1)
    faces = np.concatenate((lower, upper)).astype(np.int32)
    uv, charts = unwrap_by_box(vertices, faces)
    assert len(np.unique(charts)) == 118
    nothing = np.zeros(118, np.int8)
    mesh = Mesh(vertices, faces, uv, nothing, np.zeros((118, 3), np.float32), charts, closed=False)
    assert draw_atlas(mesh, 900, 900)[1].max() == 1


def test_it_is_put_onto_the_ground_in_metres() -> None:
    box = make_box((400, 200, 100), height=50)
    far = Mesh(box.vertices + np.float32(1000), box.faces, box.uv, box.parts, box.colours, box.charts)
    low, high = import_mesh(write_obj(far), pointer=POINTER, length=4.0).mesh.bounds
    assert low == pytest.approx([-2, -1, 0], abs=1e-3)
    assert high == pytest.approx([2, 1, 1], abs=1e-3)


def test_an_inside_out_mesh_is_turned() -> None:
    sphere = make_sphere(rounds=2)
    turned = Mesh(
        sphere.vertices, sphere.faces[:, ::-1], sphere.uv[:, ::-1], sphere.parts, sphere.colours, sphere.charts
    )
    mesh = import_mesh(write_obj(turned), pointer=POINTER).mesh
    assert mesh.closed
    assert (np.einsum("fk,fk->f", mesh.normals.mean(axis=1), mesh.corners.mean(axis=1) - mesh.centre) > 0).all()


def test_an_open_mesh_is_known_as_open() -> None:
    box = make_box((3, 2, 1))
    text = write_obj(box).decode().rsplit("\n", 1 + 4)[0]
    assert not import_mesh(text.encode(), pointer=POINTER).mesh.closed


def test_polygons_and_indices_from_the_end_are_read() -> None:
    text = b"""
v 0 0 0\nv 0 0 3 # a comment\nv 2 0 3\nv 2 0 0\nv 0 1 0\nv 0 1 3\nv 2 1 3\nv 2 1 0
f 1 4 3 2\nf -4 -3 -2 -1
f 1/1 2 6 5\n
f 3 4 8 7\nf 1 5 8 4\nf 2 3 \\
7 6
"""
    with pytest.raises(UnprocessableContent, match=r"Line 12 .*'f 1/1 2 6 5'"):
        import_mesh(text, pointer=POINTER)
    mesh = import_mesh(text.replace(b"1/1", b"1"), pointer=POINTER).mesh
    assert mesh.closed
    assert mesh.areas.sum() == pytest.approx(2 * (2 * 3 + 2 * 1 + 3 * 1))


def test_the_caller_may_name_what_is_painted() -> None:
    data = write_obj(make_car("sedan"))
    imported = import_mesh(data, pointer=POINTER, painted=frozenset({"Glass"}))
    assert imported.materials["Glass"] == Part.BODY
    assert imported.materials["Paint"] == Part.TRIM
    with pytest.raises(UnprocessableContent, match=r"No face is painted.*Glass"):
        import_mesh(data, pointer=POINTER, painted=frozenset({"door"}))


def test_nodes_place_their_meshes() -> None:
    document, binary = glb_parts(make_box((2, 2, 2)))
    half = float(np.sqrt(0.5))
    document["nodes"] = [
        {"children": [1, 2]},
        {"mesh": 0, "translation": [0, 0, 4]},
        {"mesh": 0, "rotation": [0, half, 0, half], "scale": [1, 1, -2]},
    ]
    mesh = import_mesh(pack_glb(document, binary), pointer=POINTER).mesh
    # One box of 2 m; another of 4 m, turned so that its long side lies across.
    assert mesh.bounds[1] - mesh.bounds[0] == pytest.approx([6, 4, 2], abs=1e-4)
    outwards = mesh.normals.mean(axis=1)[:, 2]
    top = mesh.corners[:, :, 2].min(axis=1) > 1.9
    assert (outwards[top] > 0.9).all()


def broken_obj(line: bytes) -> bytes:
    return write_obj(make_box((3, 2, 1))) + b"\n" + line


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "neither a GLB nor an OBJ"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "neither a GLB nor an OBJ"),
        (b"PK\x03\x04" + bytes(200), "neither a GLB nor an OBJ"),
        (broken_obj(b"v 1 2"), "cannot be read"),
        (broken_obj(b"v 1 2 x"), "cannot be read"),
        (broken_obj(b"f 1 2"), "cannot be read"),
        (broken_obj(b"f 1 2 99"), "cannot be read"),
        (broken_obj(b"f 0 1 2"), "cannot be read"),
        (broken_obj(b"v nan 0 0\nf 1 2 9"), "not a finite number"),
        (broken_obj(b"v 1e999 0 0\nf 1 2 9"), "not a finite number"),
        (broken_obj(b"v 0 1e300 0\nf 1 2 9"), "far away"),
        (write_obj(make_box((3, 2, 100))), "100 m high"),
        (write_obj(make_box((300, 2, 1))), "300 m long"),
        (write_obj(make_box((0.3, 0.2, 0.1))), "state its length"),
        (b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3", "fewer than four triangles"),
    ],
)
def test_what_cannot_be_used_is_told(data: bytes, told: str) -> None:
    with pytest.raises(UnprocessableContent, match=told) as caught:
        import_mesh(data, pointer=POINTER)
    assert [error.pointer for error in caught.value.errors] == [POINTER]


def spoiled(change: Callable[[Document], None]) -> bytes:
    document, binary = glb_parts(make_box((3, 2, 1)))
    change(document)
    return pack_glb(document, binary)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["buffers"][0].update(uri="http://10.0.0.1/x.bin"), "another file"),
        (lambda d: d["buffers"].append({"byteLength": 4}), "another file"),
        (lambda d: d.update(extensionsRequired=["KHR_draco_mesh_compression"]), "without compression"),
        (lambda d: d["nodes"].append({"children": [0]}) or d["nodes"][0].update(children=[1]), "two parents"),
        (lambda d: d["nodes"][0].update(children=[0]), "two parents"),
        (lambda d: d["accessors"][0].update(count=37), "beyond the data"),
        (lambda d: d["accessors"][0].update(byteOffset=4), "beyond the data"),
        (lambda d: d["accessors"][0].update(count=-1), "whole one"),
        (lambda d: d["accessors"][0].update(count=1.5), "whole one"),
        (lambda d: d["accessors"][0].update(type="VEC2"), "another type"),
        (lambda d: d["accessors"][0].update(sparse={}), "sparse"),
        (lambda d: d["accessors"][0].pop("bufferView"), "empty"),
        (lambda d: d["accessors"][0].update(componentType=1), "unknown type"),
        (lambda d: d["accessors"][2].update(count=35), "not there"),
        (lambda d: d["bufferViews"][0].update(byteOffset=10**12), "beyond the data"),
        (lambda d: d["meshes"][0]["primitives"][0].update(mode=1), "as triangles"),
        (lambda d: d["meshes"][0]["primitives"][0].pop("attributes"), "damaged"),
        (lambda d: d["nodes"][0].update(matrix=[1, 2]), "damaged"),
        (lambda d: d["nodes"][0].update(mesh=7), "missing"),
        (lambda d: d.update(scenes=[{"nodes": []}]), "no triangles"),
        (lambda d: d["nodes"][0].update(scale=[float("nan")] * 3), "finite"),
    ],
)
def test_a_damaged_glb_is_told(change: Callable[[Document], None], told: str) -> None:
    with pytest.raises(UnprocessableContent, match=told) as caught:
        import_mesh(spoiled(change), pointer=POINTER)
    assert [error.pointer for error in caught.value.errors] == [POINTER]


def test_a_glb_that_is_cut_off_is_refused() -> None:
    data = write_glb(make_box((3, 2, 1)))
    for length in range(0, len(data) - 4, 7):
        with pytest.raises(UnprocessableContent):
            import_mesh(data[:length], pointer=POINTER)


def test_flipped_bytes_never_raise_anything_but_problems() -> None:
    data, rng = write_glb(make_box((3, 2, 1))), np.random.default_rng(5)
    for _ in range(80):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            import_mesh(bytes(damaged), pointer=POINTER)
        except Problem:
            continue


@pytest.mark.parametrize("write", [write_obj, write_glb])
@pytest.mark.parametrize("limits", [MeshLimits(bytes=5000), MeshLimits(vertices=700), MeshLimits(faces=100)])
def test_limits_are_held(write: Callable[[Mesh], bytes], limits: MeshLimits) -> None:
    with pytest.raises(ContentTooLarge):
        import_mesh(write(make_sphere(rounds=4)), pointer=POINTER, limits=limits)


def test_a_mesh_placed_many_times_is_counted_each_time() -> None:
    document, binary = glb_parts(make_sphere(rounds=2))
    document["nodes"] = [{"mesh": 0} for _ in range(200)]
    document["scenes"] = [{"nodes": list(range(200))}]
    with pytest.raises(ContentTooLarge):
        import_mesh(pack_glb(document, binary), pointer=POINTER, limits=MeshLimits(faces=5_000))


def test_a_promise_of_many_numbers_takes_no_memory() -> None:
    data = spoiled(lambda d: d["accessors"][0].update(count=2**40))
    with pytest.raises(ContentTooLarge):
        import_mesh(data, pointer=POINTER)


def test_slivers_that_would_take_all_time_are_refused() -> None:
    angles = np.linspace(0, np.pi, 20_000)
    lines = ["v 0 0 0", *(f"v {2 * np.cos(a):.6f} {0.1 * (i % 2)} {2 * np.sin(a):.6f}" for i, a in enumerate(angles))]
    lines += [f"f 1 {i} {i + 1}" for i in range(2, 20_000)]
    with pytest.raises(UnprocessableContent, match="long thin"):
        import_mesh("\n".join(lines).encode(), pointer=POINTER)
