"""Relevance laid over the picture: red speaks for the class, blue against it, grey says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PANEL = 256
"""Least height and width of a panel, in pixels."""

_CAPTION = 36
_GAP = 8
_FOR, _AGAINST = np.array([178, 24, 43], np.float32), np.array([33, 102, 172], np.float32)
_STRENGTH = 0.9


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a sheet.

    Attributes:
        pixels: uint8 (height, width, 3).
        caption: up to two lines.
    """

    pixels: NDArray[np.uint8]
    caption: str


def overlay(picture: NDArray[np.float32], relevance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Relevance over the picture in grey; colours are scaled to the largest |relevance|, alike on both sides of zero.

    Args:
        picture: RGB in [0, 1], (3, height, width).
        relevance: (height, width).

    Returns:
        uint8 (height, width, 3).
    """
    largest = float(np.abs(relevance).max())
    share = np.abs(relevance) / largest if largest else np.zeros_like(relevance)
    opacity = (_STRENGTH * np.sqrt(share))[:, :, None]
    colour = np.where(relevance[:, :, None] >= 0, _FOR, _AGAINST)
    grey = 255 * (0.35 + 0.6 * picture.mean(axis=0))[:, :, None]
    mixed = np.round(np.clip((1 - opacity) * grey + opacity * colour, 0, 255))
    return np.asarray(mixed, dtype=np.uint8)


def sheet(rows: Sequence[Sequence[Panel]]) -> NDArray[np.uint8]:
    """Panels side by side, one row for each picture, with captions below; uint8 (height, width, 3).

    Args:
        rows: of equally many panels of one size. Pixels stay squares: nothing is smoothed that was not computed.
    """
    height, width = rows[0][0].pixels.shape[:2]
    factor = max(1, -(-PANEL // max(height, width)))
    panel_height, panel_width = height * factor, width * factor
    canvas = Image.new(
        "RGB",
        (len(rows[0]) * (panel_width + _GAP) + _GAP, len(rows) * (panel_height + _CAPTION + _GAP) + _GAP),
        "white",
    )
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    for row, panels in enumerate(rows):
        for column, panel in enumerate(panels):
            left, top = _GAP + column * (panel_width + _GAP), _GAP + row * (panel_height + _CAPTION + _GAP)
            big = Image.fromarray(panel.pixels).resize((panel_width, panel_height), Image.Resampling.NEAREST)
            canvas.paste(big, (left, top))
            draw.multiline_text((left, top + panel_height + 3), panel.caption, fill="black", font=font, spacing=2)
    return np.asarray(canvas, dtype=np.uint8)
