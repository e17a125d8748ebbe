"""Pictures side by side with captions, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PANEL: Final = 256
"""Least height and width of a panel, in pixels, unless asked for otherwise."""

_CAPTION = 36
_GAP = 8


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a sheet.

    Attributes:
        pixels: uint8 (height, width, 3).
        caption: up to two lines.
    """

    pixels: NDArray[np.uint8]
    caption: str


def sheet(rows: Sequence[Sequence[Panel]], *, panel_side: int = PANEL) -> NDArray[np.uint8]:
    """Panels side by side, one row for each picture, with captions below; uint8 (height, width, 3).

    Args:
        rows: of equally many panels of one size. Pixels stay squares: nothing is smoothed that was not computed.
        panel_side: least height and width of a panel, in pixels.
    """
    height, width = rows[0][0].pixels.shape[:2]
    factor = max(1, -(-panel_side // max(height, width)))
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
