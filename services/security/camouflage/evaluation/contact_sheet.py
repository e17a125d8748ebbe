"""Pictures of all cars from all around, to look at: `python -m services.security.camouflage.evaluation.contact_sheet`.

Each car takes four rows: plain paint and a checker, from low and from higher up, over eight azimuths.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.security.camouflage.meshes.atlas_maps import AtlasMaps, map_atlas
from services.security.camouflage.meshes.cars import CARS, CarName, make_car
from services.security.camouflage.rendering.backgrounds import draw_street
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.frames import finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS, make_daylight

Floats = NDArray[np.float32]

SIDE: Final = 256
AZIMUTHS: Final = tuple(range(20, 380, 45))
ELEVATIONS: Final = (8, 30)
PAINTS: Final[dict[CarName, tuple[float, float, float]]] = {
    "sedan": (0.62, 0.08, 0.08),
    "van": (0.80, 0.80, 0.80),
    "pickup": (0.12, 0.25, 0.50),
}


def draw_sheet(pixels: int) -> NDArray[np.uint8]:
    """All cars, uint8 RGB (cars * 4 * pixels, azimuths * pixels, 3)."""
    rows = []
    for name in CARS:
        maps = map_atlas(make_car(name), SIDE, SIDE)
        plain = np.broadcast_to(np.array(PAINTS[name], np.float32), (SIDE, SIDE, 3))
        for elevation in ELEVATIONS:
            pairs = [_pictures(name, maps, (plain, make_checker(SIDE)), (one, elevation), pixels) for one in AZIMUTHS]
            rows += [np.concatenate([pair[index] for pair in pairs], axis=1) for index in range(2)]
    return np.asarray(np.concatenate(rows) * 255 + 0.5, np.uint8)


def make_checker(side: int, squares: int = 32) -> Floats:
    """A checker of two colours, float32 (side, side, 3), sRGB in [0, 1]."""
    index = np.arange(side) * squares // side
    light = (index[:, None] + index[None, :]) % 2 == 1
    return np.where(light[..., None], (0.85, 0.75, 0.20), (0.10, 0.30, 0.20)).astype(np.float32)


def _pictures(
    name: CarName, maps: AtlasMaps, textures: tuple[Floats, Floats], angles: tuple[float, float], pixels: int
) -> list[Floats]:
    camera = Camera(*angles, distance=9.0, field_of_view=34, width=pixels, height=pixels)
    scene = make_scene(make_car(name), camera, maps.mask.shape)
    background = draw_street(camera, seed=int(angles[0]))
    frame = make_frame(scene, make_daylight(60, 50), MATERIALS, background)
    return [finish_frame(frame, texture, maps.mask) for texture in textures]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pictures of all cars from all around.")
    parser.add_argument("file", type=Path, help="the PNG to write")
    parser.add_argument("--pixels", type=int, default=160, help="side of a picture")
    given = parser.parse_args()
    Image.fromarray(draw_sheet(given.pixels)).save(given.file)
    print(given.file)
