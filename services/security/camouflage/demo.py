"""A texture to try renders with, and streets to put cars in front of: drawn, no photographs."""

from __future__ import annotations

from typing import Final

import numpy as np

from services.security.camouflage.rendering.backgrounds import draw_street
from services.security.camouflage.rendering.camera import Camera
from shared.imaging.pictures import encode_png
from shared.storage.zips import pack_zip

SIDE: Final = 128
STREETS: Final = 4

_COLOURS: Final = np.array([(196, 178, 60), (38, 92, 74), (224, 220, 206), (120, 44, 52)], np.uint8)
_WIDTH: Final = 9.0
_CAMERA: Final = Camera(0, 8, 10, 40, 160, 120)


def stripes() -> bytes:
    """PNG of wavy stripes in four colours."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    place = columns + 0.6 * rows + 6 * np.sin(rows / 9) + 4 * np.sin(columns / 13)
    return encode_png(_COLOURS[(place // _WIDTH).astype(np.int64) % len(_COLOURS)])


def empty_streets() -> bytes:
    """ZIP of streets without cars."""
    streets = ((draw_street(_CAMERA, 700 + number) * 255 + 0.5).astype(np.uint8) for number in range(STREETS))
    return pack_zip((f"street-{number}.png", encode_png(one)) for number, one in enumerate(streets, 1))
