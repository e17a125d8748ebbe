"""Run by the interpreter that has Mitsuba: reads a scene (NPZ), writes its picture (NPY). Imports nothing of Facet."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


def main(given: str, made: str) -> None:
    """Render the scene of a file into another."""
    mitsuba: Any = importlib.import_module("mitsuba")
    mitsuba.set_variant("scalar_rgb")
    with np.load(given) as scene, tempfile.TemporaryDirectory() as folder:
        described = {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": 3},
            "sensor": _sensor(mitsuba, scene),
            "sun": _sun(scene),
            "sky": {"type": "constant", "radiance": _rgb(scene["sky"])},
            "ground": {
                "type": "rectangle",
                "to_world": mitsuba.ScalarTransform4f().scale(500),
                "bsdf": {"type": "diffuse", "reflectance": _rgb(scene["ground"])},
            },
            **_shapes(mitsuba, scene, Path(folder)),
        }
        picture = mitsuba.render(mitsuba.load_dict(described), spp=int(scene["samples"]))
        np.save(made, np.array(picture))


def _sensor(mitsuba: Any, scene: Any) -> dict[str, Any]:
    angle, width, height = scene["view"]
    return {
        "type": "perspective",
        "fov": float(angle),
        "fov_axis": "y",
        "near_clip": 0.1,
        "far_clip": 2000.0,
        "to_world": mitsuba.ScalarTransform4f().look_at(
            origin=scene["origin"].tolist(), target=scene["target"].tolist(), up=[0, 0, 1]
        ),
        "film": {
            "type": "hdrfilm",
            "width": int(width),
            "height": int(height),
            "rfilter": {"type": "box"},
            "pixel_format": "rgb",
            "component_format": "float32",
        },
        "sampler": {"type": "independent"},
    }


def _sun(scene: Any) -> dict[str, Any]:
    azimuth, elevation = np.radians(scene["towards"])
    level = np.cos(elevation)
    towards = [level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)]
    return {"type": "directional", "direction": [-float(one) for one in towards], "irradiance": _rgb(scene["sun"])}


def _shapes(mitsuba: Any, scene: Any, folder: Path) -> dict[str, Any]:
    """One shape for the paint, and one for each part and colour beside it."""
    parts, colours = scene["parts"], scene["colours"]
    keys = np.column_stack((parts, np.round(colours * 1000))).astype(np.int64)
    keys[parts == 0, 1:] = 0
    _, group = np.unique(keys, axis=0, return_inverse=True)
    shapes = {}
    for index in range(int(group.max()) + 1):
        chosen = group.reshape(-1) == index
        part, path = int(parts[chosen][0]), folder / f"{index}.ply"
        _write_ply(path, scene["corners"][chosen], scene["normals"][chosen], scene["uv"][chosen])
        colour = _texture(mitsuba, scene) if part == 0 else _rgb(colours[chosen][0])
        shapes[f"shape{index}"] = {"type": "ply", "filename": str(path), "bsdf": _bsdf(scene, part, colour)}
    return shapes


def _bsdf(scene: Any, part: int, colour: dict[str, Any]) -> dict[str, Any]:
    alpha, f0 = float(scene["roughness"][part]) ** 2, float(scene["f0"][part])
    model = str(scene["model"])
    if model == "matt":
        return {"type": "diffuse", "reflectance": colour}
    if model == "metal":
        return {
            "type": "roughconductor",
            "material": "none",
            "distribution": "ggx",
            "alpha": alpha,
            "specular_reflectance": colour,
        }
    root = f0**0.5
    return {
        "type": "roughplastic",
        "distribution": "ggx",
        "alpha": alpha,
        "int_ior": (1 + root) / (1 - root),
        "diffuse_reflectance": colour,
    }


def _texture(mitsuba: Any, scene: Any) -> dict[str, Any]:
    # Mitsuba's first row is at v = 0, that of the scene at v = 1.
    bitmap = mitsuba.Bitmap(np.ascontiguousarray(scene["texture"][::-1], np.float32))
    return {"type": "bitmap", "bitmap": bitmap, "raw": True, "filter_type": "bilinear", "wrap_mode": "clamp"}


def _rgb(values: Any) -> dict[str, Any]:
    return {"type": "rgb", "value": [float(one) for one in values]}


def _write_ply(path: Path, corners: Any, normals: Any, uv: Any) -> None:
    names = ("x", "y", "z", "nx", "ny", "nz", "u", "v")
    count = len(corners)
    vertices = np.concatenate((corners, normals, uv), axis=2).reshape(-1, 8).astype("<f4")
    faces = np.zeros(count, dtype=[("n", "u1"), ("corners", "<i4", 3)])
    faces["n"], faces["corners"] = 3, np.arange(3 * count).reshape(-1, 3)
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {3 * count}"]
    header += [f"property float {name}" for name in names]
    header += [f"element face {count}", "property list uchar int vertex_indices", "end_header", ""]
    path.write_bytes("\n".join(header).encode() + vertices.tobytes() + faces.tobytes())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
