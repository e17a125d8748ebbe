"""Pictures of plain cars on streets, and the released detectors that find them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.evaluation.contact_sheet import PAINTS
from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.meshes.cars import CarName, make_car
from services.security.camouflage.rendering.backgrounds import draw_street
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.frames import finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS, make_daylight
from shared.runtime.cards import ModelCard, read_card, read_weights

MODELS = Path(__file__).parents[5] / "services" / "perception" / "models"
TEXTURE = 128


@cache
def read_model(name: str) -> tuple[ModelCard, bytes]:
    """A released detector."""
    folder = max((MODELS / name).iterdir())
    card = read_card(folder)
    return card, read_weights(folder, card)


@cache
def photograph(car: CarName, azimuth: float, side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A square picture of a car, float32 (side, side, 3) in [0, 1], and the box of the car."""
    camera = Camera(azimuth, 12, 10.0, 32, side, side)
    mesh = make_car(car)
    scene = make_scene(mesh, camera, (TEXTURE, TEXTURE))
    frame = make_frame(scene, make_daylight(60, 50), MATERIALS, draw_street(camera, int(azimuth)))
    paint = np.broadcast_to(np.array(PAINTS[car], np.float32), (TEXTURE, TEXTURE, 3))
    assert scene.view.box is not None
    picture = finish_frame(frame, paint, map_atlas(mesh, TEXTURE, TEXTURE).mask)
    return picture, np.array(scene.view.box, np.float32)


def quantised(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (picture * 255 + 0.5).astype(np.uint8)
