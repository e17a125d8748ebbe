"""The same pictures by Mitsuba 3, a path tracer that nothing here was fitted to.

Mitsuba is no dependency: it runs in an interpreter of its own, which `FACET_MITSUBA_PYTHON` names
(`python -m venv ~/mitsuba && ~/mitsuba/bin/pip install mitsuba numpy`), in its scalar variant.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Mesh, Part
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.colours import to_linear
from services.security.camouflage.rendering.light import Light, Materials

Floats = NDArray[np.float32]
Model = Literal["layered", "metal", "matt"]

INTERPRETER: Final = "FACET_MITSUBA_PYTHON"
_SCRIPT: Final = Path(__file__).with_name("mitsuba_script.py")
_TIME_LIMIT: Final = 600


def find_interpreter() -> str | None:
    """The interpreter that has Mitsuba, if the environment names one."""
    return os.environ.get(INTERPRETER)


def render_reference(
    interpreter: str,
    mesh: Mesh,
    camera: Camera,
    light: Light,
    materials: Materials,
    texture: Floats,
    *,
    model: Model = "layered",
    samples: int = 64,
) -> Floats:
    """A picture of a mesh on level ground under an even sky.

    Args:
        interpreter: path of a Python that has Mitsuba.
        mesh: what is seen.
        camera: by which.
        light: sun, sky and the ground's share.
        materials: of the parts.
        texture: float32 (texture height, texture width, 3), sRGB in [0, 1].
        model: `layered` is a rough dielectric over a matt base (Mitsuba's roughplastic), `metal` a rough conductor,
            `matt` Lambert's.
        samples: paths a pixel.

    Returns:
        Linear light, float32 (height, width, 3).

    Raises:
        subprocess.SubprocessError: Mitsuba failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "scene.npz", Path(folder) / "picture.npy"
        np.savez(
            given,
            corners=mesh.corners,
            normals=mesh.normals,
            uv=mesh.uv,
            parts=mesh.parts,
            colours=to_linear(mesh.colours),
            texture=to_linear(texture),
            roughness=[materials[part].roughness for part in Part],
            f0=[materials[part].f0 for part in Part],
            origin=camera.position,
            target=camera.target,
            view=[camera.field_of_view, camera.width, camera.height],
            towards=[light.azimuth, light.elevation],
            sun=light.sun,
            sky=light.sky,
            ground=light.ground,
            samples=samples,
            model=model,
        )
        command = [interpreter, str(_SCRIPT), str(given), str(made)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run(command, check=True, timeout=_TIME_LIMIT, capture_output=True, env=environment)
        picture: Floats = np.load(made).astype(np.float32)
    return picture
