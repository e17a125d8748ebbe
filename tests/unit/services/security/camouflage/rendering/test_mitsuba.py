"""The same pictures by a path tracer, where one is installed: what light, material, texture and shadow differ by."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.security.camouflage.evaluation.contact_sheet import make_checker
from services.security.camouflage.evaluation.mitsuba_reference import (
    INTERPRETER,
    Model,
    find_interpreter,
    render_reference,
)
from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.meshes.cars import CarName, make_car
from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.colours import to_srgb
from services.security.camouflage.rendering.frames import finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS, Light, Material, Materials, make_daylight

interpreter = find_interpreter()
pytestmark = pytest.mark.skipif(interpreter is None, reason=f"{INTERPRETER} names no Python with Mitsuba")

METAL = dict.fromkeys(Part, Material(0.5, metallic=1.0))
MATT = dict.fromkeys(Part, Material(1.0, f0=0.0))
SIDE = 256


def level_world(camera: Camera, light: Light) -> NDArray[np.float32]:
    """The background that Mitsuba's scene has: even ground below the horizon, even sky above."""
    ground = np.array(light.ground) * light.level / np.pi
    below = (np.arange(camera.height) + 0.5 > camera.horizon)[:, None, None]
    return to_srgb(np.broadcast_to(np.where(below, ground, np.array(light.sky)), (camera.height, camera.width, 3)))


@pytest.mark.parametrize(
    ("car", "angles", "sky_share", "materials", "model", "error", "ratio"),
    [
        ("sedan", (40, 15), 0.0, METAL, "metal", 0.03, 0.05),
        ("sedan", (40, 15), 0.0, MATT, "matt", 0.03, 0.03),
        ("sedan", (220, 15), 1.0, MATT, "matt", 0.03, 0.05),
        ("van", (200, 25), 0.35, MATERIALS, "layered", 0.035, 0.12),
        ("pickup", (-60, 10), 0.35, MATERIALS, "layered", 0.035, 0.12),
    ],
)
def test_pictures_agree(
    car: CarName,
    angles: tuple[float, float],
    sky_share: float,
    materials: Materials,
    model: Model,
    error: float,
    ratio: float,
) -> None:
    """Mean difference of sRGB values on the car, Mitsuba's noise included, and ratio of light on the paint.

    Mitsuba's plastic has Fresnel's exact term and loses light inside of its base, so that coloured paint is a tenth
    darker there.
    """
    assert interpreter is not None
    mesh, camera = make_car(car), Camera(*angles, distance=8.5, field_of_view=32)
    light = make_daylight(70, 45, sky_share=sky_share)
    texture = make_checker(SIDE) if model != "metal" else np.ones((SIDE, SIDE, 3), np.float32)
    expected = render_reference(interpreter, mesh, camera, light, materials, texture, model=model)
    scene = make_scene(mesh, camera, (SIDE, SIDE))
    frame = make_frame(scene, light, materials, level_world(camera, light))
    made = finish_frame(frame, texture, map_atlas(mesh, SIDE, SIDE).mask)
    whole = scene.view.coverage == 1
    assert np.abs(made - to_srgb(expected))[whole].mean() < error
    beside = scene.view.coverage == 0
    assert np.abs(made - to_srgb(expected))[beside].mean() < error
    painted = np.zeros(whole.size, bool)
    painted[scene.view.pixels[scene.view.painted]] = True
    paint = painted.reshape(whole.shape) & whole
    assert made[paint].mean() / to_srgb(expected)[paint].mean() == pytest.approx(1, abs=ratio)
