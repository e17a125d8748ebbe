"""A picture to try captions with: drawn, no photograph."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH: Final = 320
HEIGHT: Final = 240

_SKY: Final = ((120, 175, 230), (205, 228, 245))
_GRASS: Final = ((110, 165, 70), (60, 115, 40))
_HORIZON: Final = 110
_COAT: Final = (125, 80, 45)
_SHADE: Final = (85, 52, 30)


def meadow() -> bytes:
    """PNG of a brown dog that runs after a red ball on grass."""
    image = _background()
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 196, 205, 210), fill=(45, 90, 30))
    for left, lean in ((85, -18), (100, 6), (158, -6), (172, 20)):
        draw.line((left, 165, left + lean, 202), fill=_SHADE, width=10)
    draw.line((80, 148, 52, 118), fill=_COAT, width=8)
    draw.ellipse((72, 130, 190, 182), fill=_COAT)
    draw.polygon(((165, 140), (190, 108), (206, 130), (186, 166)), fill=_COAT)
    draw.ellipse((180, 96, 222, 134), fill=_COAT)
    draw.rounded_rectangle((208, 112, 242, 131), 8, fill=_COAT)
    draw.ellipse((235, 112, 244, 121), fill=(25, 20, 20))
    draw.ellipse((207, 107, 213, 113), fill=(20, 15, 15))
    draw.polygon(((184, 102), (176, 134), (196, 120)), fill=_SHADE)
    draw.ellipse((262, 184, 286, 208), fill=(205, 30, 35))
    draw.ellipse((267, 188, 274, 194), fill=(240, 130, 130))
    stream = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.8)).save(stream, format="PNG")
    return stream.getvalue()


def _background() -> Image.Image:
    """Sky that pales and grass that darkens, with grain."""
    rows = np.zeros((HEIGHT, 3))
    for (first, last), colours in (((0, _HORIZON), _SKY), ((_HORIZON, HEIGHT), _GRASS)):
        rows[first:last] = np.linspace(np.array(colours[0]), np.array(colours[1]), last - first)
    grain = np.random.default_rng(0).normal(0, 1, (HEIGHT, WIDTH, 1))
    strength = np.where(np.arange(HEIGHT) < _HORIZON, 1.5, 12.0)[:, None, None]
    return Image.fromarray(np.clip(rows[:, None] + grain * strength, 0, 255).astype(np.uint8))
