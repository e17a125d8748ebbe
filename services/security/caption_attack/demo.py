"""A picture to try caption attacks with: drawn, no photograph."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH: Final = 240
HEIGHT: Final = 180

_DEEP: Final = np.array([20.0, 70.0, 110.0])
_LIGHT: Final = np.array([95.0, 175.0, 195.0])
_SUIT: Final = (25, 25, 35)
_SKIN: Final = (205, 150, 115)


def scene() -> bytes:
    """PNG of somebody on a white surfboard on a wave."""
    image = _water()
    draw = ImageDraw.Draw(image)
    draw.polygon(((0, 62), (70, 40), (150, 52), (240, 22), (240, 0), (0, 0)), fill=(200, 222, 235))
    for left in range(-10, 240, 14):
        draw.ellipse((left, 126 + left % 9, left + 26, 142 + left % 7), fill=(235, 245, 248))
    draw.polygon(((70, 128), (175, 108), (190, 112), (86, 136)), fill=(245, 245, 240))
    draw.line((112, 118, 120, 94, 138, 112), fill=_SUIT, width=9, joint="curve")
    draw.line((120, 94, 128, 66), fill=_SUIT, width=13)
    draw.line((102, 74, 128, 70, 156, 80), fill=_SUIT, width=6, joint="curve")
    draw.ellipse((120, 44, 138, 63), fill=_SKIN)
    stream = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.7)).save(stream, format="PNG")
    return stream.getvalue()


def _water() -> Image.Image:
    """Water that brightens upwards, in waves, with grain."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = 0.5 + 0.5 * np.sin(rows / 6 + 1.5 * np.sin(columns / 25))
    share = np.clip(1 - rows / HEIGHT + 0.18 * (waves - 0.5), 0, 1)[:, :, None]
    grain = np.random.default_rng(0).normal(0, 5, (HEIGHT, WIDTH, 1))
    return Image.fromarray(np.clip(_DEEP + share * (_LIGHT - _DEEP) + grain, 0, 255).astype(np.uint8))
