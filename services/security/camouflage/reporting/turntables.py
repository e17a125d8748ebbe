"""A car turning once, as an animated WebP."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.frames import finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS, make_daylight

Floats = NDArray[np.float32]

WEBP: Final = "image/webp"

FRAMES: Final = 24
"""Of one turn."""

SIDE: Final = 224
"""Pixels of its pictures' sides."""

_ELEVATION: Final = 14.0
_FIELD_OF_VIEW: Final = 30.0
_FILLED: Final = 3.9
"""Distance of the camera in radii of the mesh: its sphere touches the edges of the picture, 1 / sin(15 degrees)."""
_BACKGROUND: Final = np.float32(0.78)
_DURATION_MS: Final = 110


def turn(
    mesh: Mesh,
    texture: Floats,
    mask: NDArray[np.bool_],
    *,
    frames: int = FRAMES,
    side: int = SIDE,
    watch: Callable[[int], None] = lambda _: None,
) -> list[NDArray[np.uint8]]:
    """Pictures of a car from all around, the sun standing with the camera.

    Args:
        mesh: it.
        texture: float32 (side, side, 3), sRGB in [0, 1].
        mask: bool of the texture's size, texels on paint.
        frames: of one turn.
        side: pixels of a picture.
        watch: called before each picture with how many are done; may raise.

    Returns:
        uint8 RGB (side, side, 3) each.
    """
    middle = (float(mesh.centre[0]), float(mesh.centre[1]), float(mesh.centre[2]))
    background, pictures = np.full((side, side, 3), _BACKGROUND, np.float32), []
    for number in range(frames):
        watch(number)
        azimuth = 360.0 * number / frames + 30
        camera = Camera(azimuth, _ELEVATION, _FILLED * mesh.radius, _FIELD_OF_VIEW, side, side, target=middle)
        frame = make_frame(make_scene(mesh, camera, mask.shape), make_daylight(azimuth + 40, 48), MATERIALS, background)
        pictures.append((finish_frame(frame, texture, mask) * 255 + 0.5).astype(np.uint8))
    return pictures


def encode_webp(pictures: Sequence[NDArray[np.uint8]], *, quality: int = 80) -> bytes:
    """Pictures uint8 RGB of one size as an animation without end."""
    first, *others = (Image.fromarray(one) for one in pictures)
    content = io.BytesIO()
    first.save(
        content, "WEBP", save_all=True, append_images=others, duration=_DURATION_MS, loop=0, quality=quality, method=3
    )
    return content.getvalue()
