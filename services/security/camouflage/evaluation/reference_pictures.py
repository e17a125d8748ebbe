"""The car by a renderer that no step has seen: what detectors find in pictures of Mitsuba, beside our own of the same.

Both have level ground and an even sky, which is Mitsuba's scene here: a plainer world than the grid's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.detection.detectors import VehicleDetector
from services.security.camouflage.evaluation.car_sets import CarSet
from services.security.camouflage.evaluation.looking import describe_all, look_at_pictures
from services.security.camouflage.evaluation.mitsuba_reference import find_interpreter, render_reference
from services.security.camouflage.evaluation.shots import Shot, make_shot
from services.security.camouflage.measurement.conditions import TEST_LIGHTS
from services.security.camouflage.measurement.grids import deal_grid
from services.security.camouflage.measurement.measures import Look
from services.security.camouflage.measurement.measuring import conditions_of_look, quantise, to_bytes
from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.colours import to_srgb
from services.security.camouflage.rendering.frames import make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS, Light

Floats = NDArray[np.float32]
Pictures = dict[str, list[NDArray[np.uint8]]]

VIEWS: Final = 12
"""Pictures of each texture and renderer."""
_LIGHT: Final = "overcast"


def look_by_both_renderers(
    cars: CarSet, textures: Mapping[str, Floats], detectors: Mapping[str, VehicleDetector], *, views: int = VIEWS
) -> dict[str, Any]:
    """Figures by renderer, detector and texture, and the mean difference of the renderers' pictures on the car.

    Args:
        cars: whose grid the views are of.
        textures: float32 (side, side, 3), sRGB in [0, 1], by name; the first is plain paint.
        detectors: that are asked.
        views: how many there are.

    Raises:
        LookupError: the environment names no interpreter with Mitsuba.
    """
    interpreter = find_interpreter()
    if interpreter is None:
        raise LookupError("the environment names no interpreter with Mitsuba")
    light, body = TEST_LIGHTS[_LIGHT]
    materials = MATERIALS | {Part.BODY: body}
    grid = deal_grid(cars.plan, azimuths=cars.scale.azimuths, backgrounds=1)
    places = np.linspace(0, len(grid), views, endpoint=False).astype(int)
    shots: list[Shot] = []
    made: dict[str, Pictures] = {"own": {name: [] for name in textures}, "mitsuba": {name: [] for name in textures}}
    errors = []
    for view, place in enumerate(places):
        camera = grid[place].camera
        scene = make_scene(cars.mesh, camera, cars.stage.texture_size)
        if scene.view.box is None:
            continue
        world = level_world(camera, light)
        frame = make_frame(scene, light, materials, world)
        shots.append(make_shot(scene, frame, conditions_of_look(grid[place], view), world))
        for name, texture in textures.items():
            own = shots[-1].with_texture(quantise(texture), cars.mask)
            other = to_bytes(
                to_srgb(render_reference(interpreter, cars.mesh, camera, light, materials, quantise(texture)))
            )
            made["own"][name].append(own)
            made["mitsuba"][name].append(other)
            errors.append(float(np.abs(own / 255 - other / 255)[scene.view.coverage == 1].mean()))
    plain = next(iter(textures))
    found = {renderer: _look(shots, pictures, detectors, plain) for renderer, pictures in made.items()}
    return {"renderers": found, "difference": round(float(np.mean(errors)), 4), "pictures": len(shots)}


def level_world(camera: Camera, light: Light) -> Floats:
    """The background that Mitsuba's scene has, float32 (height, width, 3), sRGB: even ground, even sky."""
    ground = np.array(light.ground) * light.level / np.pi
    below = (np.arange(camera.height) + 0.5 > camera.horizon)[:, None, None]
    return to_srgb(np.broadcast_to(np.where(below, ground, np.array(light.sky)), (camera.height, camera.width, 3)))


def _look(
    shots: list[Shot], pictures: Pictures, detectors: Mapping[str, VehicleDetector], plain: str
) -> dict[str, dict[str, Any]]:
    looks: dict[str, dict[str, list[Look]]] = {
        detector: {name: look_at_pictures(shots, of_texture, asked) for name, of_texture in pictures.items()}
        for detector, asked in detectors.items()
    }
    return describe_all(looks, {name: textures[plain] for name, textures in looks.items()})
